//! What the choice of a server costs a new conn, and what a table costs that is built when servers change.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb_model::{Addr, Dest, Dests, Endpoint, FlowKey, Protocol, Request, Time};
use lb_schedulers::{SchedulerOptions, builtin};

const SERVERS: [u32; 4] = [4, 16, 256, 4096];
/// Different clients, and a quarter as many destinations.
const FLOWS: u32 = 4096;

fn address(number: u32) -> Addr {
    Ipv4Addr::from(number).into()
}

/// Busy servers, none of them over its weight, so that no scheduler finds an idle one at once.
fn servers(count: u32) -> Vec<Arc<Dest>> {
    let server = |number| {
        let rip = Endpoint::new(address(0x0a01_0000 + number), 80);
        let dest = Dest::new(rip, 1000 + number % 7);
        (0..2 + number % 5).for_each(|_| dest.conn_opened(true));
        Arc::new(dest)
    };
    (1..=count).map(server).collect()
}

fn flow(number: u32) -> FlowKey {
    FlowKey {
        source: Endpoint::new(address(0x0a64_0000 + number * 7919), 4000),
        destination: Endpoint::new(address(0xc612_0000 + number / 4), 80),
        protocol: Protocol::Tcp,
    }
}

fn schedule(c: &mut Criterion) {
    let flows: Vec<FlowKey> = (0..FLOWS).map(flow).collect();
    let mut group = c.benchmark_group("schedule");
    group.throughput(Throughput::Elements(1));
    for (name, make) in builtin() {
        for count in SERVERS {
            let kind = make(&SchedulerOptions::default());
            let dests = Dests::new(servers(count), &*kind);
            let mut scheduler = kind.worker();
            scheduler.dests_changed(&dests, Time::ZERO);
            let mut flows = flows.iter().cycle();
            group.bench_function(format!("{name}_{count}/1"), |b| {
                b.iter(|| {
                    let flow = flows.next().expect("a cycle has no end");
                    let request = Request {
                        flow,
                        now: Time::ZERO,
                    };
                    black_box(scheduler.schedule(black_box(&request), &dests))
                });
            });
        }
    }
    group.finish();
}

fn prepare(c: &mut Criterion) {
    let mut group = c.benchmark_group("prepare");
    for (name, make) in builtin() {
        if !["sh", "mh"].contains(&name) {
            continue;
        }
        for count in SERVERS {
            let kind = make(&SchedulerOptions::default());
            let servers = servers(count);
            group.bench_function(format!("{name}_{count}/1"), |b| {
                b.iter(|| black_box(kind.prepare(black_box(&servers))));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, schedule, prepare);
criterion_main!(benches);
