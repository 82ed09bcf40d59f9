//! Fuzz targets, as functions: the fuzzer calls them with what it makes up, `cargo test` with what once broke them
//! (`regressions/`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb::{
    Addr, ClientAddress, Config, Counter, Endpoint, Engine, Interface, InterfaceId, Mac, NextHops,
    Port, Prefix, Protocol, ServiceConfig, Time, Worker,
};
use lb_testkit::{MemoryPort, PacketBuilder, checksums_hold, pkt};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const CIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const CIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
const UNRESOLVED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 12);
const DIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const UNRESOLVED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x12);
const LIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const LIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const RIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11);

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

/// Any bytes as a capture: packets, then its end or an error; no packet is longer than the file.
pub fn capture(data: &[u8]) {
    let Ok(mut reader) = lb_capture::Reader::new(data) else {
        return;
    };
    while let Ok(Some((record, interfaces))) = reader.read_record() {
        assert!(record.bytes.len() <= data.len() && record.interface < interfaces.len());
    }
}

/// Any text as a configuration file: a configuration, or a drawing of what is wrong with it.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(refusal) = lb_config::parse("lbd.toml".into(), text.into()) {
        assert!(!refusal.to_string().is_empty());
    }
}

/// Any text as the configuration file of `lbrs`: a plan with a role, or a drawing of what is wrong with it.
pub fn lbrs_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match lbrs::config::parse("lbrs.toml".into(), text.into()) {
        Ok(plan) => assert!(!plan.roles().is_empty()),
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}

/// Any words, one a line, as a command line of ipvsadm: a command, or a complaint with an exit code that ipvsadm has.
pub fn ipvsadm(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let words: Vec<&str> = text.split('\n').collect();
    if let Err(error) = lb_ipvsadm::parse(&words, &lb_ipvsadm::NoNames) {
        assert!([2, 255].contains(&error.exit_code()), "{error:?}");
    }
}

fn frame(choice: u8, bytes: &[u8]) -> Vec<u8> {
    let syn = || pkt().ipv4(CIP, VIP).tcp(4000, 80).syn();
    let syn6 = || pkt().ipv6(CIP6, VIP6).tcp(4000, 80).syn();
    let template: PacketBuilder = match choice & 15 {
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
        7 => pkt().ipv4(RIP, CIP).udp(5353, 4000).partial_checksum(),
        8 => syn6(),
        9 => syn6().partial_checksum().extension(60, &[0; 14]),
        10 => pkt().ipv6(RIP6, CIP6).tcp(8080, 4000).syn_ack(),
        11 => pkt().ipv6(CIP6, VIP6).udp(4000, 53).extension(0, &[0; 6]),
        12 => pkt().ipv6(RIP6, CIP6).udp(5353, 4000).payload(b"hello"),
        13 => pkt().ipv4(CIP, VIP).udp(4000, 55).payload(&[0; 1400]),
        14 => pkt().ipv6(CIP6, VIP6).udp(4000, 55).payload(&[0; 1400]),
        _ => pkt().ipv4(CIP, VIP).tcp(4000, 55).id(7, false).syn(),
    };
    lay_over(&template, bytes)
}

/// `bytes` over the packet (exclusive or), with a right IP checksum.
fn lay_over(template: &PacketBuilder, bytes: &[u8]) -> Vec<u8> {
    let mut frame = template.bytes();
    frame.resize(frame.len().max(bytes.len()), 0);
    for (byte, change) in frame.iter_mut().zip(bytes) {
        *byte ^= change;
    }
    mend_ip_checksum(&mut frame);
    frame
}

fn mend_transport_checksum(frame: &mut [u8]) {
    use lb_wire::checksum::{
        complete_partial_v4, complete_partial_v6, fold, pseudo_header_v4, pseudo_header_v6,
    };
    let Ok(parsed) = lb_wire::parse(frame) else {
        return;
    };
    let (l3, l4, end) = (
        usize::from(parsed.l3),
        usize::from(parsed.l4),
        usize::from(parsed.end),
    );
    let len = (end - l4) as u16;
    let (is_v4, pseudo) = match parsed.ip {
        lb_wire::IpHeader::V4(ip) => (true, pseudo_header_v4(ip, len)),
        lb_wire::IpHeader::V6(ip) => (false, pseudo_header_v6(ip, parsed.protocol, len)),
    };
    let protocol = parsed.protocol;
    let field = l4
        + if protocol == lb_wire::PROTOCOL_TCP {
            16
        } else {
            6
        };
    frame[field..field + 2].copy_from_slice(&fold(pseudo).to_be_bytes());
    let packet = &mut frame[l3..end];
    if is_v4 {
        complete_partial_v4(packet, l4 - l3);
    } else {
        complete_partial_v6(packet, l4 - l3, protocol);
    }
}

fn mend_ip_checksum(frame: &mut [u8]) {
    if frame[12..14] != lb_wire::ETHERTYPE_IPV4.to_be_bytes() {
        return;
    }
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
    let there =
        counters.of(Counter::Rx) + counters.of(Counter::IcmpSent) + counters.of(Counter::Split);
    // A fragment's bytes wait without its frame.
    let ended = ended + counters.of(Counter::Joined) + worker.waiting_fragments();
    assert!(ended <= there, "no packet ends twice: {counters:?}");
    let census = worker.port().census();
    assert!(census.is_conserved(), "{census:?}");
    assert_eq!(
        census.held,
        there - ended,
        "a frame inside is a packet that waits"
    );
}

/// In both families: a TCP service in NAT mode, a UDP service in NAT mode and a UDP service in DR mode, and in TUN mode
/// one with servers of both. Some servers' MACs are unknown.
fn worker() -> Worker<MemoryPort> {
    let mut config = Config::default();
    for (vip, rip) in [
        (IpAddr::from(VIP), IpAddr::from(RIP)),
        (VIP6.into(), RIP6.into()),
    ] {
        let service = |port, protocol, mode, rport| {
            ServiceConfig::new(Endpoint::new(vip.into(), port), protocol, "rr", mode)
                .with_server(Endpoint::new(rip.into(), rport), 1)
        };
        let another = |rport| match vip {
            IpAddr::V4(_) => Endpoint::new(UNRESOLVED.into(), rport),
            IpAddr::V6(_) => Endpoint::new(UNRESOLVED6.into(), rport),
        };
        config.services.extend([
            service(80, Protocol::Tcp, "nat", 8080).with_server(another(8080), 1),
            service(53, Protocol::Udp, "nat", 5353).with_server(another(5353), 1),
            service(54, Protocol::Udp, "dr", 54).with_server(another(54), 1),
            both_ends(vip, Protocol::Tcp, "fnat", None),
            both_ends(vip, Protocol::Udp, "fnat", Some(ClientAddress::ProxyV2)),
            both_ends(vip, Protocol::Tcp, "enat", None),
            both_ends(vip, Protocol::Udp, "enat", None),
            tunnel(vip, Protocol::Tcp),
            tunnel(vip, Protocol::Udp),
        ]);
    }
    config.engine.capacity = 16;
    let engine = Engine::new(&config).expect("a valid configuration");
    engine.set_next_hops(next_hops());
    engine.worker(MemoryPort::new(300))
}

/// A service whose servers see a source of ours.
fn both_ends(
    vip: IpAddr,
    protocol: Protocol,
    mode: &str,
    asked: Option<ClientAddress>,
) -> ServiceConfig {
    let (port, rip) = (if mode == "fnat" { 56 } else { 57 }, rip_of(vip));
    let service = ServiceConfig::new(Endpoint::new(vip.into(), port), protocol, "rr", mode)
        .with_server(Endpoint::new(rip.into(), 8056), 1);
    match mode {
        "fnat" => ServiceConfig {
            client_address: asked,
            ..service.with_local_address(lip_of(vip))
        },
        _ => service,
    }
}

fn rip_of(vip: IpAddr) -> IpAddr {
    if vip.is_ipv4() {
        RIP.into()
    } else {
        RIP6.into()
    }
}

fn lip_of(vip: IpAddr) -> Addr {
    if vip.is_ipv4() {
        LIP.into()
    } else {
        LIP6.into()
    }
}

/// Any bytes over packets of full NAT and ENAT, to their servers and back: what came with right checksums leaves with right
/// ones, within its buffer.
///
/// The first byte chooses mode, protocol, family and direction; the rest is laid over the packet as in [`turn`].
pub fn rewrite(data: &[u8]) {
    let [choice, bytes @ ..] = data else { return };
    let (is_v4, is_udp, is_enat) = (choice & 1 != 0, choice & 2 != 0, choice & 4 != 0);
    let vip: IpAddr = if is_v4 { VIP.into() } else { VIP6.into() };
    let cip: IpAddr = if is_v4 { CIP.into() } else { CIP6.into() };
    let vport = if is_enat { 57 } else { 56 };
    let between = |from: (IpAddr, u16), to: (IpAddr, u16)| {
        let packet = pkt().ip(from.0, to.0).payload(b"hello");
        if is_udp {
            packet.udp(from.1, to.1)
        } else {
            packet.tcp(from.1, to.1)
        }
    };
    let opening = between((cip, 4000), (vip, vport));
    let mut worker = worker();
    worker
        .port_mut()
        .inject(InterfaceId(0), &opening.clone().syn().bytes());
    turn_and_check(&mut worker, Time::ZERO);
    while worker.port_mut().take_sent().is_some() {}
    let (ingress, template) = if choice & 8 != 0 {
        let local = if is_enat {
            vip
        } else {
            IpAddr::from(lip_of(vip))
        };
        let reply = between((rip_of(vip), 8056), (local, 1024));
        (InterfaceId(1), reply.syn_ack())
    } else {
        (InterfaceId(0), opening)
    };
    let mut frame = lay_over(&template, bytes);
    if choice & 16 == 0 {
        mend_transport_checksum(&mut frame);
    }
    let was_right = checksums_hold(&frame);
    worker.port_mut().inject(ingress, &frame);
    turn_and_check(&mut worker, Time::ZERO);
    while let Some((_, sent)) = worker.port_mut().take_sent() {
        assert!(
            !was_right || checksums_hold(&sent),
            "{frame:02x?} became {sent:02x?}"
        );
    }
}

/// Servers of both families.
fn tunnel(vip: IpAddr, protocol: Protocol) -> ServiceConfig {
    ServiceConfig::new(Endpoint::new(vip.into(), 55), protocol, "rr", "tun")
        .with_server(Endpoint::new(RIP.into(), 55), 1)
        .with_server(Endpoint::new(RIP6.into(), 55), 1)
}

fn next_hops() -> NextHops {
    let interface = |name: &str, last, addresses| Interface {
        name: name.into(),
        mac: Mac([2, 0, 0, 0, 0, last]),
        mtu: 1500,
        addresses,
    };
    let (dip, dip6) = (Addr::v4([10, 1, 0, 1]), Addr::from(DIP6));
    let mut hops = NextHops::new(vec![
        interface("eth0", 0xd0, Vec::new()),
        interface("eth1", 0xd1, vec![dip, dip6]),
    ]);
    let (eth0, eth1) = (InterfaceId(0), InterfaceId(1));
    for (addr, len, egress, last) in [
        (Addr::from(CIP), 24, eth0, 1),
        (Addr::from(CIP6), 64, eth0, 1),
        (Addr::from(RIP), 24, eth1, 11),
        (Addr::from(RIP6), 64, eth1, 11),
    ] {
        hops.set_route(Prefix::new(addr, len), Some(egress), None);
        hops.set_neighbour(egress, addr, Mac([2, 0, 0, 0, 1, last]));
    }
    hops
}
