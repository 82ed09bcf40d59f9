//! What the turn is made of: `parse` and `rewrite` (`tables.rs` has `lookup`), in packets per second.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb_benches::{client, inbound, next_hops};
use lb_model::{
    Addr, Conn, ConnRecord, Dest, Direction, Endpoint, FlowKey, Frame, Headers, HopCache,
    InterfaceId, Introduction, Mode, NewConn, Packet, Protocol, Replies,
};

const BATCH: usize = 64;

fn parse(c: &mut Criterion) {
    let frames: Vec<Vec<u8>> = (0..BATCH as u32).map(|flow| inbound(flow).1).collect();
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(format!("udp/{BATCH}"), |b| {
        b.iter(|| {
            for frame in &frames {
                black_box(lb_wire::parse(black_box(frame))).expect("valid");
            }
        });
    });
    group.finish();
}

fn flow(number: u32) -> FlowKey {
    let vip = "10.0.0.100:80".parse().expect("valid");
    FlowKey {
        source: client(number),
        destination: vip,
        protocol: Protocol::Udp,
    }
}

fn conn(number: u32, dest: &Arc<Dest>) -> NewConn<'_> {
    let flow = flow(number);
    NewConn {
        flow,
        dest,
        rip: dest.rip(),
        local: None,
        replies: Replies::ToClient,
        introduction: Introduction::Nothing,
        mode: 0,
    }
}

fn dest() -> Arc<Dest> {
    Arc::new(Dest::new(
        "10.1.0.11:8080".parse::<Endpoint>().expect("valid"),
        1,
    ))
}

fn rewrite(c: &mut Criterion) {
    let dest = dest();
    let new = conn(0, &dest);
    let wide = [Addr::UNSPECIFIED_V4; 4];
    let record = ConnRecord::new(&new, 0, None);
    let conn = Conn::new(&record, &wide, &dest);
    let mut hops = HopCache::new(Arc::new(next_hops()));
    let mut group = c.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(BATCH as u64));
    for mode in lb_modes() {
        let mut packets: Vec<Packet> = (0..BATCH as u32).map(packet).collect();
        let (headers, len) = (packets[0].headers, packets[0].frame.len());
        group.bench_function(format!("{}_in/{BATCH}", mode.name()), |b| {
            b.iter(|| {
                // What an encapsulation has added the last time goes.
                for packet in &mut packets {
                    (packet.headers, packet.verdict) = (headers, None);
                    assert!(packet.frame.resize(len), "it was so long before");
                }
                for packet in black_box(&mut packets) {
                    mode.rewrite(packet, conn, Direction::Inbound, &mut hops);
                }
            });
        });
    }
    group.finish();
}

fn lb_modes() -> Vec<Arc<dyn Mode>> {
    lb::Registry::builtin().modes().to_vec()
}

fn packet(number: u32) -> Packet {
    let (ingress, bytes) = inbound(number);
    let parsed = lb_wire::parse(&bytes).expect("valid");
    let room = Box::leak(vec![0; 2048].into_boxed_slice());
    room[..bytes.len()].copy_from_slice(&bytes);
    let mut packet = Packet::received(
        Frame::new(room, bytes.len(), number),
        InterfaceId(ingress.0),
    );
    packet.headers = Headers {
        l3: parsed.l3,
        l4: parsed.l4,
        end: parsed.end,
        tcp_flags: parsed.tcp_flags,
        is_v4: true,
    };
    packet.flow = flow(number);
    packet
}

criterion_group!(benches, parse, rewrite);
criterion_main!(benches);
