//! What a packet waits for at worst: the longest turns while a million conns a second begin and end, and the table's longest
//! single operations, beside so many conns that live. In CPU time of the thread, which leaves out when it does not run; what
//! an interrupt or the host of a virtual machine takes is still in it.

use std::hint::black_box;
use std::time::Duration;

use lb::{ConnState, ConnTable, Dest, Endpoint, FlowKey, LocalPorts, Protocol, Time, Timeouts};
use lb_benches::{Scenario, client, inbound, live_conns, random, service};
use lb_model::{Introduction, NewConn, Replies};
use lb_wire::TcpFlags;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;

/// Of a turn's packets half belong to conns that live, and half open one.
const NEW_PER_TURN: u32 = 32;
/// That is a million new conns a second.
const TURN: Duration = Duration::from_micros(NEW_PER_TURN as u64);
/// Of conns that come and go: as many end a second later.
const SHORT: Duration = Duration::from_secs(1);
/// Of conns that are to stay.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);
/// More than come until the first of them have ended.
const CHURN: u32 = 2_000_000;
/// Until as many end as begin.
const UNTIL_STEADY: u32 = 40_000;
const TURNS: u32 = 60_000;
const OPERATIONS: u32 = 200_000;

fn main() {
    println!(
        "{:<40} {:>9} {:>9} {:>9}",
        "microseconds of CPU time", "median", "99.9 %", "longest"
    );
    row(
        "nothing, between two looks at the clock",
        (0..TURNS).map(|_| timed(|| ())),
    );
    for (label, live) in live_conns() {
        turns(label, live);
        operations(label, live);
    }
}

/// Turns of 64 packets, while a million conns begin and a million end in every second of their clock.
fn turns(label: &str, live: u32) {
    let mut scenario = Scenario::serving(service("nat", Protocol::Udp, false, false), live + CHURN);
    scenario.set_udp_timeout(LONG);
    scenario.open(live, inbound);
    scenario.set_udp_timeout(SHORT);
    let new = (live..live + CHURN).map(inbound);
    let known = random(live).map(inbound);
    scenario.deliver(new.zip(known).flat_map(|(new, known)| [new, known]));
    let mut now = Time::ZERO;
    let mut turn = || {
        now = now + TURN;
        timed(|| scenario.worker.turn(now))
    };
    (0..UNTIL_STEADY).for_each(|_| {
        turn();
    });
    row(
        &format!("turns, 1 M/s begin and end beside {label}"),
        (0..TURNS).map(|_| turn()),
    );
    let counters = scenario.worker.counters();
    assert_eq!((counters.dropped(), counters.punted()), (0, 0));
    // A conn ends at most a tick of the wheel late, and some turns after that.
    let at_most = live as usize + 1_100_000;
    assert!(scenario.worker.conns().len() < at_most, "it falls behind");
}

fn operations(label: &str, live: u32) {
    let ports = LocalPorts::new(1024..=65535, 0);
    let timeouts = Timeouts::default().with(ConnState::Udp, LONG);
    let mut table = ConnTable::new(live + OPERATIONS, timeouts, ports);
    let dest = Arc::new(Dest::new("10.1.0.11:8080".parse().expect("valid"), 1));
    let open = |table: &mut ConnTable, number| {
        let opened = table.open(conn(number, &dest), None, TcpFlags::default(), Time::ZERO);
        opened.expect("there is room")
    };
    for number in 0..live {
        open(&mut table, number);
    }
    let hits = random(live).take(OPERATIONS as usize);
    row(
        &format!("a lookup that finds, among {label}"),
        hits.map(|number| timed(|| black_box(table.find(&flow(number))))),
    );
    let misses = live + OPERATIONS..live + 2 * OPERATIONS;
    row(
        &format!("a lookup that does not, among {label}"),
        misses.map(|number| timed(|| black_box(table.find(&flow(number))))),
    );
    row(
        &format!("a conn that opens beside {label}"),
        (live..live + OPERATIONS).map(|number| timed(|| open(&mut table, number))),
    );
    row(
        &format!("a conn that ends beside {label}"),
        (0..OPERATIONS).map(|number| {
            let hit = table.find(&flow(number)).expect("it lives");
            timed(|| {
                table.retire(hit.conn);
                table.expire(Time::ZERO, 1)
            })
        }),
    );
}

fn flow(number: u32) -> FlowKey {
    FlowKey {
        source: client(number),
        destination: Endpoint::new(lb_benches::VIP.into(), 80),
        protocol: Protocol::Udp,
    }
}

fn conn(number: u32, dest: &Arc<Dest>) -> NewConn<'_> {
    NewConn {
        flow: flow(number),
        dest,
        rip: dest.rip(),
        local: None,
        replies: Replies::ToClient,
        introduction: Introduction::Nothing,
        mode: 0,
    }
}

/// Nanoseconds of CPU time.
fn timed<T>(what: impl FnOnce() -> T) -> u64 {
    let nanos = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let start = nanos();
    black_box(what());
    nanos() - start
}

fn row(what: &str, nanos: impl Iterator<Item = u64>) {
    let mut nanos: Vec<u64> = nanos.collect();
    nanos.sort_unstable();
    let micros = |nanos: Option<&u64>| *nanos.expect("more than none") as f64 / 1e3;
    println!(
        "{what:<40} {:>9.2} {:>9.2} {:>9.2}",
        micros(nanos.get(nanos.len() / 2)),
        micros(nanos.get(nanos.len() - 1 - nanos.len() / 1000)),
        micros(nanos.last()),
    );
}
