//! Fuzz targets, as functions: the fuzzer calls them with what it makes up, `cargo test` with what once broke them
//! (`regressions/`).

use std::net::Ipv4Addr;
use std::time::Duration;

use lb::{
    Addr, Config, Counter, Endpoint, Engine, Interface, InterfaceId, Mac, NextHops, Port, Prefix,
    Protocol, ServiceConfig, Time, Worker,
};
use lb_testkit::{MemoryPort, PacketBuilder, pkt};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const CIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);

/// Any bytes as one frame: it ends with exactly one verdict, and what parses lies within the frame.
pub fn parse_classify(data: &[u8]) {
    if let Ok(parsed) = lb_wire::parse(data) {
        assert!(
            parsed.l3 < parsed.l4
                && parsed.l4 < parsed.end
                && usize::from(parsed.end) <= data.len()
        );
    }
    let mut worker = worker();
    if worker.port_mut().inject(InterfaceId(0), data) {
        turn_and_check(&mut worker, Time::ZERO);
        assert_eq!(worker.counters().of(Counter::Rx), 1);
    }
}

/// Any sequence of frames and pauses: frames are conserved, and every packet is accounted for.
///
/// A record is a tag, two bytes of length and so many bytes. The tag's lowest bit is the interface, the next
/// means a pause instead of a frame, and the rest chooses what the bytes are laid over (exclusive or), so that the
/// fuzzer need not guess checksums: nothing, or a packet that opens, continues or answers a conn.
pub fn turn(data: &[u8]) {
    let mut worker = worker();
    let mut now = Time::ZERO;
    let mut rest = data;
    while let [tag, high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if tag & 2 != 0 {
            now = now + Duration::from_millis(len as u64);
            rest = tail;
        } else {
            let (bytes, tail) = tail.split_at(len.min(tail.len()));
            rest = tail;
            worker
                .port_mut()
                .inject(InterfaceId(u16::from(tag & 1)), &frame(tag >> 2, bytes));
            if tag & 0x80 != 0 {
                continue; // The next frame joins this one's batch.
            }
        }
        turn_and_check(&mut worker, now);
    }
    turn_and_check(&mut worker, now);
    let mut port = worker.into_port();
    while port.take_sent().is_some() {}
    let census = port.census();
    assert!(
        census.is_conserved() && census.free + census.receiving == census.total,
        "{census:?}"
    );
}

fn frame(choice: u8, bytes: &[u8]) -> Vec<u8> {
    let syn = || pkt().ipv4(CIP, VIP).tcp(4000, 80).syn();
    let template: PacketBuilder = match choice & 7 {
        0 => return bytes.to_vec(),
        1 => syn(),
        2 => syn().partial_checksum(),
        3 => pkt().ipv4(CIP, VIP).tcp(4000, 80).payload(b"hello"),
        4 => pkt().ipv4(RIP, CIP).tcp(8080, 4000).syn_ack(),
        5 => pkt().ipv4(CIP, VIP).udp(4000, 53).payload(b"hello"),
        6 => pkt()
            .ipv4(CIP, VIP)
            .udp(4000, 53)
            .options(&[1; 8])
            .no_checksum(),
        _ => pkt().ipv4(RIP, CIP).udp(5353, 4000).partial_checksum(),
    };
    let mut frame = template.bytes();
    frame.resize(frame.len().max(bytes.len()), 0);
    for (byte, change) in frame.iter_mut().zip(bytes) {
        *byte ^= change;
    }
    mend_ip_checksum(&mut frame);
    frame
}

fn mend_ip_checksum(frame: &mut [u8]) {
    let header_len = usize::from(frame[14] & 0xf) * 4;
    if let Some(header) = frame
        .get_mut(14..14 + header_len)
        .filter(|header| header.len() >= 20)
    {
        header[10..12].fill(0);
        let checksum = !lb_wire::checksum::fold(lb_wire::checksum::sum(header));
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn turn_and_check(worker: &mut Worker<MemoryPort>, now: Time) {
    worker.turn(now);
    let counters = worker.counters();
    let ended = counters.of(Counter::Tx) + counters.punted() + counters.dropped();
    let received = counters.of(Counter::Rx);
    assert!(ended <= received, "no packet ends twice: {counters:?}");
    let census = worker.port().census();
    assert!(census.is_conserved(), "{census:?}");
    assert_eq!(
        census.held,
        received - ended,
        "a frame inside is a packet that waits"
    );
}

/// A TCP service in NAT mode, a UDP service in NAT mode and a UDP service in DR mode; one server's MAC is unknown.
fn worker() -> Worker<MemoryPort> {
    let service = |port, protocol, mode, rport| {
        ServiceConfig::new(Endpoint::new(VIP.into(), port), protocol, "rr", mode)
            .with_server(Endpoint::new(RIP.into(), rport), 1)
            .with_server(Endpoint::new(Ipv4Addr::new(10, 1, 0, 12).into(), rport), 1)
    };
    let mut config = Config::default()
        .with_service(service(80, Protocol::Tcp, "nat", 8080))
        .with_service(service(53, Protocol::Udp, "nat", 5353))
        .with_service(service(54, Protocol::Udp, "dr", 54));
    config.engine.capacity = 16;
    let engine = Engine::new(&config).expect("a valid configuration");
    let interface = |name: &str, last| Interface {
        name: name.into(),
        mac: Mac([2, 0, 0, 0, 0, last]),
        mtu: 1500,
    };
    let mut hops = NextHops::new(vec![interface("eth0", 0xd0), interface("eth1", 0xd1)]);
    hops.set_route(
        Prefix::new(Addr::v4([192, 0, 2, 0]), 24),
        Some(InterfaceId(0)),
        None,
    );
    hops.set_route(
        Prefix::new(Addr::v4([10, 1, 0, 0]), 24),
        Some(InterfaceId(1)),
        None,
    );
    hops.set_neighbour(InterfaceId(0), CIP.into(), Mac([2, 0, 0, 0, 0, 1]));
    hops.set_neighbour(InterfaceId(1), RIP.into(), Mac([2, 0, 0, 0, 1, 11]));
    engine.set_next_hops(hops);
    engine.worker(MemoryPort::new(300))
}
