//! What becomes of schedulers and conns when a service is edited while it runs (kernel `ip_vs_edit_service`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::lab::*;
use lb::{
    Addr, Dest, Dests, Endpoint, IpvsSettings, Prepared, Protocol, Registry, Request, Scheduler,
    SchedulerFlags, SchedulerKind, ServerSpec, ServiceId, ServiceKey, ServiceSpec, Thresholds,
    Tunnel,
};
use lb_testkit::{PacketBuilder, pkt};
use lb_wire::TcpFlags;

const WEB: ServiceId = ServiceId::Address(ServiceKey {
    vip: Endpoint::new(Addr::v4([10, 0, 0, 100]), 80),
    protocol: Protocol::Tcp,
});

const BUILTIN: [&str; 13] = [
    "rr", "wrr", "lc", "wlc", "sh", "dh", "lblc", "lblcr", "sed", "nq", "fo", "ovf", "mh",
];

fn by(scheduler: &str) -> ServiceSpec {
    ServiceSpec {
        id: WEB,
        scheduler: scheduler.into(),
        scheduler_flags: SchedulerFlags::default(),
        persistence: None,
        persistence_engine: None,
        one_packet: false,
        full_nat: None,
    }
}

/// The highest server comes first in IPVS's list.
fn lab(scheduler: &str, weights: &[u32], registry: Registry) -> Lab {
    let lab = Lab::with(Vec::new(), registry, 100);
    let edited = lab.engine.edit(|table| {
        table.add_service(&by(scheduler))?;
        (0..).zip(weights).try_for_each(|(number, weight)| {
            let server = ServerSpec {
                rip: Endpoint::new(rip(number).into(), 80),
                mode: "dr".into(),
                weight: *weight,
                thresholds: Thresholds::default(),
                tunnel: Tunnel::default(),
            };
            table.add_server(WEB, &server)
        })
    });
    edited.expect("a valid edit");
    lab
}

fn edit(lab: &Lab, spec: &ServiceSpec) {
    let edited = lab.engine.edit(|table| table.edit_service(spec));
    edited.expect("a valid edit");
}

fn tcp(cport: u16) -> PacketBuilder {
    pkt().ipv4(CIP, VIP).tcp(cport, 80)
}

fn sent_to(lab: &mut Lab, packet: &PacketBuilder) -> Option<u8> {
    lab.inbound(packet);
    let (egress, frame) = lab.port().take_sent()?;
    (egress == ETH1).then(|| frame[5] - 11)
}

/// The servers of new conns.
fn new_conns(lab: &mut Lab, cports: std::ops::Range<u16>) -> Vec<Option<u8>> {
    let new_conn = |cport| sent_to(lab, &tcp(cport).syn());
    cports.map(new_conn).collect()
}

#[test]
fn other_flags_leave_a_scheduler_where_it_is() {
    for (scheduler, before, after) in [
        ("rr", [Some(2), Some(1)], [Some(0), Some(2)]),
        ("wrr", [Some(2), Some(2)], [Some(1), Some(2)]),
    ] {
        let mut lab = lab(scheduler, &[1, 2, 3], Registry::builtin());
        assert_eq!(new_conns(&mut lab, 1..3), before, "{scheduler}");
        let mut flagged = by(scheduler);
        flagged.scheduler_flags = SchedulerFlags::FIRST;
        edit(&lab, &flagged);
        assert_eq!(new_conns(&mut lab, 3..5), after, "{scheduler}");
    }
}

#[test]
fn other_flags_count_from_the_next_conn_on() {
    for scheduler in ["sh", "mh"] {
        let mut lab = lab(scheduler, &[1; 8], Registry::builtin());
        let one = new_conns(&mut lab, 1..20);
        assert!(one.iter().all(|server| *server == one[0]), "{scheduler}");
        let mut with_ports = by(scheduler);
        with_ports.scheduler_flags = SchedulerFlags::SECOND;
        edit(&lab, &with_ports);
        let many = new_conns(&mut lab, 20..40);
        assert!(many.iter().any(|server| *server != many[0]), "{scheduler}");
    }
}

#[test]
fn a_scheduler_that_comes_back_begins_afresh() {
    let mut lab = lab("rr", &[1, 1], Registry::builtin());
    assert_eq!(new_conns(&mut lab, 1..2), [Some(1)]);
    // Both edits reach the worker at once.
    edit(&lab, &by("wrr"));
    edit(&lab, &by("rr"));
    assert_eq!(new_conns(&mut lab, 2..4), [Some(1), Some(0)]);
}

#[test]
fn another_expiration_reaches_a_running_service() {
    // Destinations stay with their server for a day, and are forgotten with the full check after half an hour if not.
    for (seconds, expected) in [(None, 1), (Some(100), 0)] {
        let mut lab = lab("lblc", &[1, 1], Registry::builtin());
        assert_eq!(new_conns(&mut lab, 1..2), [Some(1)]);
        if let Some(seconds) = seconds {
            let settings = IpvsSettings {
                lblc_expiration: Duration::from_secs(seconds),
                ..IpvsSettings::default()
            };
            let edited = |table: &mut lb::ServiceTable| table.set_settings(settings, Vec::new());
            lab.engine.edit(edited);
        }
        // A packet now and then keeps the conn, and so the load, but is no use of what is remembered.
        for _ in 0..4 {
            assert_eq!(sent_to(&mut lab, &tcp(1)), Some(1));
            lab.pass_time(500);
        }
        assert_eq!(new_conns(&mut lab, 2..3), [Some(expected)], "{seconds:?}");
    }
}

/// Everybody to the same server: the last in the list.
struct Last;

impl Scheduler for Last {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        dests.len().checked_sub(1)
    }
}

#[test]
fn conns_stay_where_they_are_whatever_schedules_the_next() {
    let registry =
        Registry::builtin().with_scheduler("last", || Box::new(Last) as Box<dyn Scheduler>);
    let mut lab = lab("rr", &[10, 20, 30], registry);
    let mut conns = Vec::new();
    for (cport, scheduler) in (4000..).zip(BUILTIN.into_iter().chain(["last"])) {
        edit(&lab, &by(scheduler));
        let server = sent_to(&mut lab, &tcp(cport).syn());
        assert!(server.is_some(), "{scheduler}");
        if scheduler == "last" {
            assert_eq!(server, Some(0));
        }
        conns.push((cport, server));
        for (cport, server) in &conns {
            let data = tcp(*cport).flags(TcpFlags::ACK);
            assert_eq!(sent_to(&mut lab, &data), *server, "under {scheduler}");
        }
    }
}

/// Counts how often its table is built.
#[derive(Clone, Default)]
struct Builder(Arc<AtomicUsize>);

impl SchedulerKind for Builder {
    fn worker(&self) -> Box<dyn Scheduler> {
        Box::new(Last)
    }

    fn prepare(&self, _dests: &[Arc<Dest>]) -> Option<Prepared> {
        self.0.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[test]
fn tables_are_built_with_the_edit_and_never_by_a_worker() {
    let builder = Builder::default();
    let registry = Registry::builtin().with_scheduler("builder", builder.clone());
    let mut lab = lab("builder", &[1, 1], registry);
    let built = builder.0.load(Ordering::Relaxed);
    assert_eq!(built, 3, "for the service, and for each server");
    assert_eq!(new_conns(&mut lab, 1..50), [Some(0); 49]);
    lab.pass_time(100);
    lab.turn();
    assert_eq!(builder.0.load(Ordering::Relaxed), built);
}
