//! What the machine's memory allows: `floor/chase_CONNS/1`, a cache line that says where the next is, as one packet after the
//! other would wait for its conn; and `floor/read_CONNS/64`, a batch of lines that do not depend on one another. There are as
//! many lines as conns, visited at random, in pages of the kernel's usual size.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb_benches::{live_conns, random};

const BATCH: usize = 64;
/// Batches whose places are made up beforehand.
const BATCHES: usize = 1 << 14;

/// What a cache holds or does not.
#[repr(align(64))]
#[derive(Clone)]
struct Line(u32);

/// Lines of which each names another, in one circle through all of them (Sattolo's algorithm).
fn circle(lines: u32) -> Vec<Line> {
    let mut order: Vec<u32> = (0..lines).collect();
    let mut numbers = random(u32::MAX);
    for last in (1..lines).rev() {
        let number = numbers.next().expect("there is no end of them");
        let other = (u64::from(number) * u64::from(last)) >> 32;
        order.swap(last as usize, other as usize);
    }
    let mut circle = vec![Line(0); lines as usize];
    for (at, line) in order.iter().enumerate() {
        let next = order[(at + 1) % order.len()];
        circle[*line as usize] = Line(next);
    }
    circle
}

fn floor(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor");
    for (label, conns) in live_conns() {
        let lines = circle(conns);
        group.throughput(Throughput::Elements(1));
        let mut at = 0;
        group.bench_function(format!("chase_{label}/1"), |b| {
            b.iter(|| {
                at = lines[at as usize].0;
                at
            });
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        let places: Vec<u32> = random(conns).take(BATCH * BATCHES).collect();
        let (batches, _) = places.as_chunks::<BATCH>();
        let mut batches = batches.iter().cycle();
        group.bench_function(format!("read_{label}/{BATCH}"), |b| {
            b.iter(|| {
                let batch = batches.next().expect("a cycle has no end");
                let sum = |sum: u32, place: &u32| sum.wrapping_add(lines[*place as usize].0);
                black_box(batch.iter().fold(0, sum))
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
    targets = floor
}
criterion_main!(benches);
