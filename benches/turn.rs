//! The full turn over a port in memory, in every mode: `turn/MODE_in_CONNS/BATCH` and `_out_` for known flows picked at
//! random, `turn/MODE_new_CONNS/BATCH` for new ones beside so many that live, in packets per second; and `port/CONNS/BATCH`,
//! what the port in memory takes of each of these.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb::{Addr, Batch, InterfaceId, Port, Protocol, ServiceConfig, Time};
use lb_benches::{RecyclingPort, Scenario, answer, inbound, live_conns, random, service};

const BATCH: u32 = 64;
const MODES: [&str; 5] = ["dr", "nat", "fnat", "enat", "tun"];
/// Packets delivered in turn: more than a cache of branches remembers, and enough that the conns of a small part of the
/// flows do not stay in a cache of data.
const PACKETS: std::ops::RangeInclusive<u32> = 1 << 14..=1 << 22;
/// What a server's ports towards one local address suffice for.
const PER_LOCAL_ADDRESS: u32 = 64_512;
/// Conns that are opened before they end again, all at once.
const OPENED: u32 = 8 * 1024;
/// Of conns that are to stay.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);
/// Of conns that come and go.
const SHORT: Duration = Duration::from_secs(1);

/// A service over sixteen servers with as many local addresses as so many conns take; `None` if there is no such way.
fn serving(mode: &str, conns: u32) -> Option<ServiceConfig> {
    let mut service = service(mode, Protocol::Udp, false, false);
    let addresses = conns.div_ceil(PER_LOCAL_ADDRESS * service.servers.len() as u32);
    match mode {
        "fnat" => {
            let more = (1..addresses as u8).map(|number| Addr::v4([10, 1, 1, number]));
            service.local_addresses.extend(more);
        }
        // Its one local address is the VIP.
        "enat" if addresses > 1 => return None,
        _ => {}
    }
    Some(service)
}

fn packets(conns: u32) -> impl Iterator<Item = u32> {
    random(conns).take(conns.clamp(*PACKETS.start(), *PACKETS.end()) as usize)
}

fn known(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    group.throughput(Throughput::Elements(BATCH.into()));
    for mode in MODES {
        for (label, conns) in live_conns() {
            if serving(mode, conns).is_none() {
                continue;
            }
            turns(&mut group, &format!("{mode}_in_{label}"), || {
                let mut scenario = with_conns(mode, conns);
                scenario.deliver(packets(conns).map(inbound));
                scenario
            });
            if !matches!(mode, "nat" | "fnat") || conns > 1_000_000 {
                continue;
            }
            turns(&mut group, &format!("{mode}_out_{label}"), || {
                let mut scenario = with_conns(mode, conns);
                let answers = answers(&mut scenario, conns);
                scenario.deliver(packets(conns).map(|flow| answers[flow as usize].clone()));
                scenario
            });
        }
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// Turns of a scenario, which is prepared only if the command line does not leave it out.
fn turns(group: &mut Group<'_>, name: &str, prepare: impl Fn() -> Scenario) {
    let mut prepared = None;
    group.bench_function(format!("{name}/{BATCH}"), |b| {
        let scenario = prepared.get_or_insert_with(&prepare);
        b.iter(|| scenario.worker.turn(Time::ZERO));
    });
    prepared.iter().for_each(nothing_is_lost);
}

fn with_conns(mode: &str, conns: u32) -> Scenario {
    let service = serving(mode, conns).expect("as many as fit");
    let mut scenario = Scenario::serving(service, conns);
    scenario.open(conns, inbound);
    scenario
}

/// Of all flows, in their order.
fn answers(scenario: &mut Scenario, conns: u32) -> Vec<(InterfaceId, Vec<u8>)> {
    let answer = |flow| {
        scenario.deliver([inbound(flow)]);
        scenario.worker.turn(Time::ZERO);
        answer(scenario.worker.port().sent_last())
    };
    (0..conns).map(answer).collect()
}

fn new(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    group.throughput(Throughput::Elements(BATCH.into()));
    for mode in MODES {
        for (label, live) in [("1k", 1_000), ("1m", 1_000_000)] {
            opening(&mut group, &format!("{mode}_new_{label}"), live, || {
                serving(mode, live + OPENED).expect("a million fit")
            });
        }
    }
    let crowded = || {
        let mut service = service("fnat", Protocol::Udp, false, false);
        service.servers.truncate(1);
        service
    };
    // One server and one local address, with most of their ports in use.
    opening(&mut group, "fnat_new_50k_of_64k_ports", 50_000, crowded);
    group.finish();
}

/// New conns beside `live` others, again and again; their ends are not part of what is measured.
fn opening(group: &mut Group<'_>, name: &str, live: u32, service: impl Fn() -> ServiceConfig) {
    let prepare = || {
        let mut scenario = Scenario::serving(service(), live + OPENED);
        scenario.set_udp_timeout(LONG);
        scenario.open(live, inbound);
        scenario.set_udp_timeout(SHORT);
        scenario
    };
    let mut prepared = None;
    let mut now = Time::ZERO;
    let mut next = live;
    group.bench_function(format!("{name}/{BATCH}"), |b| {
        let scenario = prepared.get_or_insert_with(prepare);
        b.iter_custom(|turns| {
            let (mut left, mut sum) = (turns, Duration::ZERO);
            while left > 0 {
                let turns = left.min(u64::from(OPENED / BATCH));
                // Others every time, elsewhere in the table.
                next = if next > live + (1 << 24) {
                    live
                } else {
                    next + OPENED
                };
                scenario.deliver((next..next + OPENED).map(inbound));
                let start = Instant::now();
                for _ in 0..turns {
                    scenario.worker.turn(now);
                }
                sum += start.elapsed();
                left -= turns;
                let opened = turns as usize * BATCH as usize;
                assert_eq!(scenario.worker.conns().len(), live as usize + opened);
                scenario.deliver([]);
                now = now + 2 * SHORT;
                while scenario.worker.conns().len() > live as usize {
                    scenario.worker.turn(now);
                }
            }
            sum
        });
    });
    prepared.iter().for_each(nothing_is_lost);
}

fn nothing_is_lost(scenario: &Scenario) {
    assert_eq!(scenario.worker.counters().dropped(), 0);
    assert_eq!(scenario.worker.counters().punted(), 0);
}

/// With as many flows the list of packets is as long as in the other rows, and so as far away in memory.
fn port(c: &mut Criterion) {
    let mut group = c.benchmark_group("port");
    group.throughput(Throughput::Elements(BATCH.into()));
    for (label, conns) in live_conns() {
        let (mut port, mut batch) = (RecyclingPort::new(), Batch::new());
        port.deliver(packets(conns).map(inbound));
        group.bench_function(format!("{label}/{BATCH}"), |b| {
            b.iter(|| {
                port.receive(&mut batch);
                for packet in batch.drain() {
                    let sent = port.transmit(packet.ingress, packet.frame);
                    assert!(sent.is_ok(), "it takes everything");
                }
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group! {
    name = benches;
    config = short();
    targets = port, known, new
}
criterion_main!(benches);
