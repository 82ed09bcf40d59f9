//! The connection table next to what one would build of hashbrown: `lookup/CASE/BATCH`, `open/CASE/1`, `expire/CASE/1`, in
//! conns per second, and `ports/CASE/1`. First it prints what a conn takes of the machine's memory in each.
//!
//! All conns are found by both of their flows, as in NAT. `map` is a hashbrown map of entries and `slab` a hashbrown index
//! over a slab, both hashed by ahash; `ours` is lb-conn's table, asked for a batch as the stages do, or for one flow at a
//! time.

use std::env;
use std::hint::black_box;
use std::process::{self, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb::{
    Addr, ConnState, ConnTable, Dest, Endpoint, FlowKey, Introduction, LocalPorts, Protocol,
    Replies, Time, Timeouts,
};
use lb_benches::{MapTable, SlabTable, client, live_conns, random, resident_bytes};
use lb_conn::{Guess, Hash};
use lb_model::NewConn;
use lb_wire::TcpFlags;

const BATCH: usize = 64;
/// Flows that are looked up, in turn: more than the second-level cache has room for the conns of.
const LOOKED_UP: usize = 1 << 20;
/// Conns that are opened or end at once.
const CHURN: u32 = 1024;
/// Of conns that are to stay.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);
/// Of conns that come and go.
const SHORT: Duration = Duration::from_secs(1);
const PORTS: u32 = 64 * 1024 - 1024;

/// A table in the comparison.
trait Table {
    const NAME: &str;
    fn new(capacity: u32) -> Self;
    fn set_timeout(&mut self, timeout: Duration);
    fn open(&mut self, conn: NewConn<'_>, now: Time);
    /// How many of these are there.
    fn find(&self, flows: &[FlowKey; BATCH]) -> usize;
    fn expire(&mut self, now: Time) -> usize;
}

impl Table for MapTable {
    const NAME: &str = "map";

    fn new(capacity: u32) -> MapTable {
        MapTable::new(capacity)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        MapTable::set_timeout(self, timeout);
    }

    fn open(&mut self, conn: NewConn<'_>, now: Time) {
        MapTable::open(self, conn, now);
    }

    fn find(&self, flows: &[FlowKey; BATCH]) -> usize {
        let lives = |flow: &&FlowKey| MapTable::find(self, flow).is_some_and(|e| e.ends > SOON);
        flows.iter().filter(lives).count()
    }

    fn expire(&mut self, now: Time) -> usize {
        MapTable::expire(self, now)
    }
}

impl Table for SlabTable {
    const NAME: &str = "slab";

    fn new(capacity: u32) -> SlabTable {
        SlabTable::new(capacity)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        SlabTable::set_timeout(self, timeout);
    }

    fn open(&mut self, conn: NewConn<'_>, now: Time) {
        SlabTable::open(self, conn, now);
    }

    fn find(&self, flows: &[FlowKey; BATCH]) -> usize {
        let lives = |flow: &&FlowKey| SlabTable::find(self, flow).is_some_and(|e| e.ends > SOON);
        flows.iter().filter(lives).count()
    }

    fn expire(&mut self, now: Time) -> usize {
        SlabTable::expire(self, now)
    }
}

/// A found entry is looked at, as a packet would: it has not ended by now.
const SOON: Time = Time::ZERO;

impl Table for ConnTable {
    const NAME: &str = "ours";

    fn new(capacity: u32) -> ConnTable {
        let ports = LocalPorts::new(1024..=65535, 0);
        ConnTable::new(capacity, Timeouts::default(), ports)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.set_timeouts(Timeouts::default().with(ConnState::Udp, timeout));
    }

    fn open(&mut self, conn: NewConn<'_>, now: Time) {
        let opened = ConnTable::open(self, conn, None, TcpFlags::default(), now);
        opened.expect("there is room");
    }

    fn find(&self, flows: &[FlowKey; BATCH]) -> usize {
        let mut places = flows.each_ref().map(|flow| {
            let hash = self.hash(flow);
            self.prefetch(hash);
            (hash, Guess::NONE)
        });
        self.guess(&mut places);
        let is_there = |((hash, guess), flow): &((Hash, Guess), &FlowKey)| {
            let confirmed = self.confirm(*guess, flow);
            confirmed
                .or_else(|| self.find_guessed(*guess, *hash, flow))
                .is_some()
        };
        places.into_iter().zip(flows).filter(is_there).count()
    }

    fn expire(&mut self, now: Time) -> usize {
        let mut ended = 0;
        // As a worker does it turn by turn: a call does no more than keeps packets waiting a little.
        loop {
            match ConnTable::expire(self, now, BATCH) {
                0 => return ended,
                more => ended += more,
            }
        }
    }
}

fn dest() -> Arc<Dest> {
    let rip: Endpoint = "10.1.0.11:8080".parse().expect("valid");
    Arc::new(Dest::new(rip, 1))
}

fn flow(number: u32) -> FlowKey {
    FlowKey {
        source: client(number),
        destination: "10.0.0.100:80".parse().expect("valid"),
        protocol: Protocol::Udp,
    }
}

fn conn(number: u32, dest: &Arc<Dest>, replies: Replies) -> NewConn<'_> {
    NewConn {
        flow: flow(number),
        dest,
        rip: dest.rip(),
        local: None,
        replies,
        introduction: Introduction::Nothing,
        mode: 0,
    }
}

/// With the conns of flows `0..conns`, and room for some that come and go.
fn filled<T: Table>(conns: u32, dest: &Arc<Dest>, replies: Replies) -> T {
    let mut table = T::new(conns + CHURN);
    table.set_timeout(LONG);
    for number in 0..conns {
        table.open(conn(number, dest, replies), Time::ZERO);
    }
    table.set_timeout(SHORT);
    table
}

/// Of the process that finds out what a table takes: which one, and whether for conns that are found by two flows. A
/// process of its own, as what an allocator keeps for later use would make the next table look smaller.
const MEMORY_OF: &str = "LBD_BENCH_MEMORY_OF";

fn memory(_: &mut Criterion) {
    if let Ok(question) = env::var(MEMORY_OF) {
        let (name, replies) = match question.strip_suffix('2') {
            Some(name) => (name, Replies::ToClient),
            None => (&*question, Replies::Direct),
        };
        let bytes = match name {
            MapTable::NAME => memory_of::<MapTable>(replies),
            SlabTable::NAME => memory_of::<SlabTable>(replies),
            _ => memory_of::<ConnTable>(replies),
        };
        println!("{bytes}");
        process::exit(0);
    }
    println!("memory per conn at {IN_MEMORY} conns, in bytes: found by one flow, and by two");
    for name in [MapTable::NAME, SlabTable::NAME, ConnTable::NAME] {
        let [one, two] = ["", "2"].map(|flows| {
            let mut ourselves = Command::new(env::current_exe().expect("we run"));
            ourselves
                .arg("--bench")
                .env(MEMORY_OF, format!("{name}{flows}"));
            let output = ourselves.output().expect("it can be run again");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        });
        println!("    {name:<6} {one:>6} {two:>6}");
    }
}

const IN_MEMORY: u32 = 1_000_000;

fn memory_of<T: Table>(replies: Replies) -> u64 {
    let resident = || resident_bytes().expect("Linux has it");
    let before = resident();
    let table = filled::<T>(IN_MEMORY, &dest(), replies);
    let bytes = resident() - before;
    black_box(&table);
    bytes / u64::from(IN_MEMORY)
}

fn tables(c: &mut Criterion) {
    for (label, conns) in live_conns() {
        compared::<MapTable>(c, label, conns);
        compared::<SlabTable>(c, label, conns);
        compared::<ConnTable>(c, label, conns);
    }
}

fn compared<T: Table>(c: &mut Criterion, label: &str, conns: u32) {
    let dest = dest();
    let mut table: T = filled(conns, &dest, Replies::ToClient);
    lookups(c, &table, label, conns);
    churn(c, &mut table, label, conns, &dest);
}

fn lookups<T: Table>(c: &mut Criterion, table: &T, label: &str, conns: u32) {
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (case, first, expected) in [("hit", 0, BATCH), ("miss", conns + CHURN, 0)] {
        let flows: Vec<FlowKey> = random(conns)
            .take(LOOKED_UP)
            .map(|number| flow(first + number))
            .collect();
        let (batches, _) = flows.as_chunks::<BATCH>();
        let mut batches = batches.iter().cycle();
        group.bench_function(format!("{case}_{label}_{}/{BATCH}", T::NAME), |b| {
            b.iter(|| {
                let batch = batches.next().expect("a cycle has no end");
                assert_eq!(black_box(table.find(batch)), expected);
            });
        });
    }
    group.finish();
}

/// [`lookups`] of one flow at a time.
fn singly(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(1));
    for (label, conns) in live_conns() {
        let table: ConnTable = filled(conns, &dest(), Replies::ToClient);
        for (case, first, expected) in [("hit", 0, true), ("miss", conns + CHURN, false)] {
            let flows: Vec<FlowKey> = random(conns)
                .take(LOOKED_UP)
                .map(|number| flow(first + number))
                .collect();
            let mut flows = flows.iter().cycle();
            group.bench_function(format!("{case}_{label}_ours/1"), |b| {
                b.iter(|| {
                    let flow = flows.next().expect("a cycle has no end");
                    assert_eq!(black_box(table.find(flow)).is_some(), expected);
                });
            });
        }
    }
    group.finish();
}

fn churn<T: Table>(c: &mut Criterion, table: &mut T, label: &str, conns: u32, dest: &Arc<Dest>) {
    let mut now = Time::ZERO;
    let mut next = conns;
    // What opening and ending so many takes, in this order.
    let mut spent = |count: u32| {
        // Conns are elsewhere in the table every time.
        let opened: Vec<NewConn<'_>> = (next..next + count)
            .map(|number| conn(number, dest, Replies::ToClient))
            .collect();
        next = if next > 2 * conns + (1 << 22) {
            conns
        } else {
            next + count
        };
        let start = Instant::now();
        for conn in opened {
            table.open(conn, now);
        }
        let open = start.elapsed();
        now = now + 2 * SHORT;
        let start = Instant::now();
        assert_eq!(table.expire(now), count as usize);
        [open, start.elapsed()]
    };
    for (which, operation) in ["open", "expire"].into_iter().enumerate() {
        let mut group = c.benchmark_group(operation);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{label}_{}/1", T::NAME), |b| {
            b.iter_custom(|conns| {
                let mut left = conns;
                let mut sum = Duration::ZERO;
                while left > 0 {
                    let count = left.min(CHURN.into());
                    sum += spent(count as u32)[which];
                    left -= count;
                }
                sum
            });
        });
        group.finish();
    }
}

/// A local port for FNAT: taken and given back, where few, many or none are left; the last with one address and with
/// sixteen, none of which has any left.
fn ports(c: &mut Criterion) {
    let server: Endpoint = "10.1.0.11:80".parse().expect("valid");
    let mut group = c.benchmark_group("ports");
    group.throughput(Throughput::Elements(1));
    for (label, addresses, leased) in [
        ("1k_of_64k", 1, 1_000),
        ("50k_of_64k", 1, 50_000),
        ("all_but_1_of_64k", 1, PORTS - 1),
        ("none_left", 1, PORTS),
        ("none_left_of_16", 16, 16 * PORTS),
    ] {
        let locals: Vec<Addr> = (0..addresses)
            .map(|last| Addr::v4([10, 1, 0, 200 + last]))
            .collect();
        let mut ports = LocalPorts::new(1024..=65535, 0);
        let mut turn = 0;
        let mut lease = |ports: &mut LocalPorts| {
            turn += 1;
            let (addr, port) = ports.lease(&locals, turn, &server, Protocol::Udp, Time::ZERO)?;
            Some(Endpoint::new(*addr, port))
        };
        // Every port was in use once, and has come back in an order that is not that of their numbers.
        let mut all: Vec<Endpoint> = (0..u32::from(addresses) * PORTS)
            .map(|_| lease(&mut ports).expect("there are so many"))
            .collect();
        all.sort_by_key(|local| local.port.reverse_bits());
        for local in all {
            ports.give_back(local, server, Protocol::Udp, Time::ZERO);
        }
        for _ in 0..leased {
            lease(&mut ports).expect("there are so many");
        }
        group.bench_function(format!("{label}/1"), |b| {
            b.iter(|| {
                if let Some(local) = black_box(lease(&mut ports)) {
                    ports.give_back(local, server, Protocol::Udp, Time::ZERO);
                }
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group! {
    name = benches;
    config = short();
    targets = memory, tables, singly, ports
}
criterion_main!(benches);
