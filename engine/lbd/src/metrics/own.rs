//! lbd's own names.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use lb::{Counter, Dest, Engine, LocalPortsOf, ServiceId, ServiceTable, Traffic, VirtualService};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::hand_overs::hand_overs;
use super::table::{Labels, counter, gauge};
use super::{Sources, machinery};

/// The numbers of a daemon.
pub struct OwnMetrics {
    sources: Sources,
    started: u64,
}

impl OwnMetrics {
    /// Of a daemon that starts now.
    pub fn of(sources: Sources) -> OwnMetrics {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let started = since.unwrap_or_default().as_secs();
        OwnMetrics { sources, started }
    }
}

impl fmt::Debug for OwnMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnMetrics")
    }
}

/// A service, or a server in one.
struct Member {
    labels: Labels,
    traffic: Traffic,
    active: u64,
    inactive: u64,
    weight: u64,
}

impl Collector for OwnMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let engine = &self.sources.engine;
        let (services, backends) = engine.look(members);
        members_of(encoder, &SERVICE, &services)?;
        members_of(encoder, &BACKEND, &backends)?;
        let weights = backends.iter().map(|b| (b.labels.clone(), b.weight));
        gauge(
            encoder,
            ("lbd_backend_weight", "Weight, 0 for no new conns"),
            weights,
        )?;
        local_ports(encoder, engine)?;
        let counters = engine.counters();
        let of = |counter| [(Labels::new(), counters.of(counter))];
        counter(
            encoder,
            ("lbd_received_packets", "Packets received"),
            of(Counter::Rx),
        )?;
        counter(
            encoder,
            ("lbd_received_bytes", "Bytes received"),
            of(Counter::RxBytes),
        )?;
        counter(
            encoder,
            ("lbd_sent_packets", "Packets sent"),
            of(Counter::Tx),
        )?;
        counter(
            encoder,
            ("lbd_sent_bytes", "Bytes sent"),
            of(Counter::TxBytes),
        )?;
        let reasons = |kind: &'static str| {
            let named = Counter::all().filter_map(move |counter| {
                let name = counter.to_string();
                let reason = name.strip_prefix(kind)?.to_owned();
                Some((counter, reason))
            });
            named.map(|(counter, reason)| (vec![("reason", reason)], counters.of(counter)))
        };
        counter(
            encoder,
            ("lbd_drops", "Packets that ended here"),
            reasons("drop."),
        )?;
        counter(
            encoder,
            ("lbd_passed", "Packets left to the kernel"),
            reasons("punt."),
        )?;
        let opened = of(Counter::ConnOpen);
        counter(encoder, ("lbd_conns_opened", "Conns opened"), opened)?;
        let expired = of(Counter::ConnExpire);
        counter(
            encoder,
            ("lbd_conns_expired", "Conns ended by their time-out"),
            expired,
        )?;
        hand_overs(encoder, &engine.hand_overs())?;
        let capacity = u64::from(engine.capacity());
        let help = "Conns that each worker has room for";
        gauge(
            encoder,
            ("lbd_conntable_capacity", help),
            [(Labels::new(), capacity)],
        )?;
        machinery::workers(encoder, engine)?;
        if let Some(sockets) = &self.sources.sockets {
            machinery::sockets(encoder, sockets)?;
        }
        machinery::reloads(encoder, &self.sources.reloads.outcomes())?;
        let started = [(Labels::new(), self.started)];
        gauge(
            encoder,
            ("lbd_start_time_seconds", "When lbd started"),
            started,
        )?;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        gauge(encoder, ("lbd_build_info", "The version"), [(version, 1)])
    }
}

/// Of full NAT and ENAT: how much is left before new conns find none.
fn local_ports(encoder: &mut DescriptorEncoder<'_>, engine: &Engine) -> Result<(), fmt::Error> {
    let in_use = engine.local_ports_in_use();
    let of = |value: fn(&LocalPortsOf) -> u64| {
        in_use.iter().map(move |(id, ports)| {
            let mut labels = service_labels(*id);
            labels.push(("backend", ports.server.to_string()));
            (labels, value(ports))
        })
    };
    let leased = of(|ports| ports.leased.into());
    let help = "Local ports towards a server that conns of a service use";
    gauge(encoder, ("lbd_backend_local_ports", help), leased)?;
    let help = "Local ports towards a server that there are";
    let capacity = of(|ports| ports.capacity);
    gauge(
        encoder,
        ("lbd_backend_local_ports_capacity", help),
        capacity,
    )
}

/// Names of metrics with their help.
struct Names {
    opened: (&'static str, &'static str),
    conns: (&'static str, &'static str),
    packets: (&'static str, &'static str),
    bytes: (&'static str, &'static str),
}

const SERVICE: Names = Names {
    opened: ("lbd_service_connections", "Conns opened to a service"),
    conns: ("lbd_service_live_connections", "Conns of a service now"),
    packets: ("lbd_service_packets", "Packets of a service's conns"),
    bytes: (
        "lbd_service_bytes",
        "Bytes of a service's conns, with IP headers",
    ),
};

const BACKEND: Names = Names {
    opened: ("lbd_backend_connections", "Conns opened to a server"),
    conns: ("lbd_backend_live_connections", "Conns of a server now"),
    packets: ("lbd_backend_packets", "Packets of a server's conns"),
    bytes: (
        "lbd_backend_bytes",
        "Bytes of a server's conns, with IP headers",
    ),
};

fn members_of(
    encoder: &mut DescriptorEncoder<'_>,
    names: &Names,
    members: &[Member],
) -> Result<(), fmt::Error> {
    let opened = members.iter().map(|m| (m.labels.clone(), m.traffic.conns));
    counter(encoder, names.opened, opened)?;
    let states = members.iter().flat_map(|m| {
        let states = [("active", m.active), ("inactive", m.inactive)];
        states.map(|(state, value)| (with(&m.labels, "state", state), value))
    });
    gauge(encoder, names.conns, states)?;
    let packets = members.iter().flat_map(|m| {
        let directions = [("in", m.traffic.in_packets), ("out", m.traffic.out_packets)];
        directions.map(|(direction, value)| (with(&m.labels, "direction", direction), value))
    });
    counter(encoder, names.packets, packets)?;
    let bytes = members.iter().flat_map(|m| {
        let directions = [("in", m.traffic.in_bytes), ("out", m.traffic.out_bytes)];
        directions.map(|(direction, value)| (with(&m.labels, "direction", direction), value))
    });
    counter(encoder, names.bytes, bytes)
}

fn with(labels: &Labels, name: &'static str, value: &str) -> Labels {
    let mut labels = labels.clone();
    labels.push((name, value.to_owned()));
    labels
}

/// All services, and all servers.
fn members(table: &ServiceTable) -> (Vec<Member>, Vec<Member>) {
    let services = table.services();
    let backends = services.iter().flat_map(|service| {
        let dests = service.dests().iter();
        dests.map(|dest| backend(table, service, dest))
    });
    let all = services.iter().map(|service| member(table, service));
    (all.collect(), backends.collect())
}

fn member(table: &ServiceTable, service: &VirtualService) -> Member {
    let counted = table.traffic_of_service(service.id()).unwrap_or_default();
    let sum = |of: fn(&Dest) -> u32| service.dests().iter().map(|d| u64::from(of(d))).sum();
    Member {
        labels: service_labels(service.id()),
        traffic: counted.lifetime,
        active: sum(Dest::active),
        inactive: sum(Dest::inactive),
        weight: sum(Dest::weight),
    }
}

fn backend(table: &ServiceTable, service: &VirtualService, dest: &Dest) -> Member {
    let counted = table.traffic_of_server(service.id(), dest.rip());
    let mut labels = service_labels(service.id());
    labels.push(("backend", dest.rip().to_string()));
    Member {
        labels,
        traffic: counted.unwrap_or_default().lifetime,
        active: dest.active().into(),
        inactive: dest.inactive().into(),
        weight: dest.weight().into(),
    }
}

/// What a service's series are told apart by.
pub fn service_labels(id: ServiceId) -> Labels {
    let (vip, port, proto) = match id {
        ServiceId::Address(key) => (
            key.vip.addr.to_string(),
            key.vip.port.to_string(),
            key.protocol.to_string(),
        ),
        ServiceId::Mark(_) => Default::default(),
    };
    vec![
        ("service", id.to_string()),
        ("vip", vip),
        ("port", port),
        ("proto", proto),
    ]
}
