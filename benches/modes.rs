//! The full turn for known flows, in every mode and address family: `modes/MODE_FAMILY_1k/BATCH`, in packets per second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb::{Protocol, Time, Tunnel, TunnelChecksum};
use lb_benches::{Scenario, inbound, inbound_v6, service};

const BATCH: u32 = 64;
const FLOWS: u32 = 1_000;

/// A mode in one pair of families, clients first.
struct Case {
    name: &'static str,
    mode: &'static str,
    tunnel: Tunnel,
    families: &'static [(bool, bool)],
}

const SAME: &[(bool, bool)] = &[(false, false), (true, true)];
const EVERY: &[(bool, bool)] = &[(false, false), (true, true), (false, true), (true, false)];

const CASES: [Case; 8] = [
    case("dr", Tunnel::Ipip, SAME),
    case("nat", Tunnel::Ipip, SAME),
    case("fnat", Tunnel::Ipip, SAME),
    case("enat", Tunnel::Ipip, SAME),
    case("tun", Tunnel::Ipip, EVERY),
    tunnelled("tun_gue", gue(TunnelChecksum::Absent)),
    tunnelled("tun_gue_csum", gue(TunnelChecksum::Present)),
    tunnelled(
        "tun_gre",
        Tunnel::Gre {
            checksum: TunnelChecksum::Absent,
        },
    ),
];

const fn case(mode: &'static str, tunnel: Tunnel, families: &'static [(bool, bool)]) -> Case {
    Case {
        name: mode,
        mode,
        tunnel,
        families,
    }
}

const fn tunnelled(name: &'static str, tunnel: Tunnel) -> Case {
    Case {
        name,
        ..case("tun", tunnel, SAME)
    }
}

const fn gue(checksum: TunnelChecksum) -> Tunnel {
    Tunnel::Gue {
        port: 6080,
        checksum,
    }
}

fn modes(c: &mut Criterion) {
    let mut group = c.benchmark_group("modes");
    group.throughput(Throughput::Elements(BATCH.into()));
    for case in &CASES {
        for (vip_is_v6, servers_are_v6) in case.families {
            let mut scenario = scenario(case, *vip_is_v6, *servers_are_v6);
            let name = match (vip_is_v6, servers_are_v6) {
                (false, false) => "v4",
                (true, true) => "v6",
                (false, true) => "4in6",
                (true, false) => "6in4",
            };
            group.bench_function(format!("{}_{name}_1k/{BATCH}", case.name), |b| {
                b.iter(|| scenario.worker.turn(Time::ZERO));
            });
            assert_eq!(scenario.worker.counters().dropped(), 0, "{}", case.name);
        }
    }
    group.finish();
}

/// Its conns open, packets of them arriving.
fn scenario(case: &Case, vip_is_v6: bool, servers_are_v6: bool) -> Scenario {
    let mut service = service(case.mode, Protocol::Udp, vip_is_v6, servers_are_v6);
    for server in &mut service.servers {
        server.tunnel = case.tunnel;
    }
    let packet = if vip_is_v6 { inbound_v6 } else { inbound };
    let mut scenario = Scenario::serving(service, FLOWS);
    scenario.open(FLOWS, packet);
    // Each flow's turn comes in an order that no cache of branches remembers.
    let flows = (0..16_384u32).map(|n| n.wrapping_mul(0x9e37_79b9) % FLOWS);
    scenario.deliver(flows.map(packet));
    scenario
}

criterion_group!(benches, modes);
criterion_main!(benches);
