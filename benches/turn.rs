//! The full turn over a port in memory: `turn/CASE/BATCH`, in packets per second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb::Time;
use lb_benches::{Scenario, inbound, outbound};

const BATCH: u32 = 64;
/// Packets delivered in turn; more than any cache of branches remembers.
const PACKETS: u32 = 16_384;

/// Flows in a fixed pseudo-random order (xorshift), so that the table's memory is visited at random.
fn random_flows(flows: u32) -> impl Iterator<Item = u32> {
    let mut x = 0x9e37_79b9u32;
    (0..PACKETS).map(move |_| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        ((u64::from(x) * u64::from(flows)) >> 32) as u32
    })
}

fn turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    group.throughput(Throughput::Elements(BATCH.into()));
    for mode in ["dr", "nat"] {
        for (label, flows) in [("1k", 1_000), ("100k", 100_000), ("1m", 1_000_000)] {
            let mut scenario = Scenario::new(mode, flows);
            scenario.open(flows);
            scenario.deliver(random_flows(flows).map(inbound).collect());
            group.bench_function(format!("{mode}_in_{label}/{BATCH}"), |b| {
                b.iter(|| scenario.worker.turn(Time::ZERO));
            });
        }
    }
    let mut scenario = Scenario::new("nat", 1_000);
    scenario.open(1_000);
    // Round robin from the server added last: flow i went to server 15 - i % 16.
    let replies = random_flows(1_000).map(|flow| outbound(flow, 15 - (flow % 16) as u8));
    scenario.deliver(replies.collect());
    group.bench_function(format!("nat_out_1k/{BATCH}"), |b| {
        b.iter(|| scenario.worker.turn(Time::ZERO))
    });
    assert_eq!(
        scenario.worker.counters().dropped(),
        0,
        "every reply found its conn"
    );
    group.finish();
}

criterion_group!(benches, turn);
criterion_main!(benches);
