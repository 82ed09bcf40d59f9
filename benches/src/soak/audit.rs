//! What has to hold whenever one looks, whatever came before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lb::{
    Config, Counter, Counters, Dest, Endpoint, Engine, FrameCensus, Port, Protocol, Time, Worker,
};
use lb_testkit::MemoryPort;

/// Packets in and out of the port are those that the worker has counted.
pub fn packets(counters: &Counters, injected: u64, sent: u64) {
    let waiting_in_the_port = injected.checked_sub(counters.of(Counter::Rx));
    assert!(
        waiting_in_the_port.is_some(),
        "more received than there were"
    );
    assert_eq!(counters.of(Counter::Tx), sent, "packets sent");
}

/// What was received is what has ended and what waits: so many fragments, and no more packets than may wait for a MAC.
pub fn waiting(worker: &Worker<MemoryPort>, frames: u32) {
    let waiting = worker.counters().waiting();
    let fragments = worker.waiting_fragments();
    let census: FrameCensus = worker.port().census();
    assert!(census.is_conserved(), "{census:?}");
    assert_eq!(census.total, frames.into(), "{census:?}");
    // A datagram that was put together waits in memory of the worker's own.
    let held = waiting
        .checked_sub(fragments)
        .filter(|held| census.held <= *held && *held <= 2 * u64::from(frames));
    assert!(
        held.is_some(),
        "{waiting} packets wait, of which {fragments} are fragments, in {census:?}"
    );
}

/// The table's conns are those that servers and local addresses count, each is found by its flows, and no local port is
/// leased twice.
pub fn conns(worker: &Worker<MemoryPort>, engine: &Engine, now: Time) {
    let table = worker.conns();
    let mut counts: HashMap<*const Dest, (Arc<Dest>, [u32; 3])> = HashMap::new();
    let mut leases: HashSet<(Endpoint, Endpoint, Protocol)> = HashSet::new();
    let mut leased_of: HashMap<_, u32> = HashMap::new();
    let mut found = 0;
    for view in table.iter(now) {
        let (conn, dest) = (view.conn, view.conn.dest());
        found += 1;
        let there = table
            .find(&conn.flow())
            .map(|hit| table.conn(hit.conn).flow());
        assert_eq!(there, Some(conn.flow()), "a conn that is not found");
        if let Some(reply) = conn.reply() {
            let there = table.find(&reply).map(|hit| table.conn(hit.conn).flow());
            assert_eq!(there, Some(conn.flow()), "a conn not found by its replies");
        }
        let (_, count) = counts
            .entry(Arc::as_ptr(dest))
            .or_insert_with(|| (Arc::clone(dest), [0; 3]));
        count[usize::from(view.state.is_active())] += 1;
        if let Some(local) = conn.local() {
            count[2] += 1;
            *leased_of.entry(local.addr).or_default() += 1;
            let fresh = leases.insert((local, conn.rip(), conn.protocol()));
            assert!(fresh, "{local} towards {} belongs to two conns", conn.rip());
        }
    }
    assert_eq!(table.len(), found, "conns in the table");
    for (dest, [inactive, active, leased]) in counts.values() {
        let counted = [dest.inactive(), dest.active(), dest.leased()];
        assert_eq!(
            counted,
            [*inactive, *active, *leased],
            "inactive and active conns and leased ports of {}",
            dest.rip()
        );
    }
    for (local, leased) in leased_of {
        let used = engine.local_use(local);
        assert_eq!(used.leased, leased, "ports of {local:?}");
    }
}

/// Nothing is left of any conn.
pub fn emptiness(worker: &Worker<MemoryPort>, engine: &Engine, config: &Config) {
    assert!(worker.conns().is_empty());
    for service in &config.services {
        for local in &service.local_addresses {
            assert_eq!(engine.local_use(*local).leased, 0, "ports of {local:?}");
        }
        for server in engine.local_ports_of(service.id) {
            assert_eq!(server.leased, 0, "ports towards {}", server.server);
        }
    }
    engine.look(|table| {
        for dest in table.services().iter().flat_map(|s| s.dests().iter()) {
            assert_eq!(dest.total(), 0, "conns of {}", dest.rip());
        }
    });
}
