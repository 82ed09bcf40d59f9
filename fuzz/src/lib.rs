//! Fuzz targets, as functions: the fuzzer calls them with what it makes up, `cargo test` with what once broke them
//! (`regressions/`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lb::{
    Addr, Config, Counter, Endpoint, Engine, Interface, InterfaceId, Mac, NextHops, Port, Prefix,
    Protocol, ServiceConfig, Time, Worker,
};
use lb_testkit::{MemoryPort, PacketBuilder, checksums_hold, pkt};

use crate::flow::Flow;

mod control;
mod flow;

pub use control::control;

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

/// Any bytes as a message about another balancer's conns: what was read is written and read again as the same.
pub fn sync(data: &[u8]) {
    let Ok(message) = lb_sync::Message::read(data) else {
        return;
    };
    let mut packer = lb_sync::Packer::new(message.sync_id, usize::from(u16::MAX));
    for told in &message.told {
        assert_eq!(packer.add(told), None, "they came in one message");
    }
    if let Some(written) = packer.take() {
        let read = lb_sync::Message::read(&written).map(|message| message.told);
        assert_eq!(read, Ok(message.told));
    }
}

/// Any bytes as the answer to a question of a health check: what passes must be what was waited for.
pub fn check_answers(data: &[u8]) {
    use lb_checks::probe::echo::{Framing, reply};
    for (v6, framing) in [
        (false, Framing::Bare),
        (false, Framing::Ipv4Header),
        (true, Framing::Bare),
    ] {
        if let Some(token) = reply(data, v6, framing) {
            assert!(data.windows(token.len()).any(|window| window == token));
        }
    }
    if let Some(segment) = lb_checks::probe::segment::Segment::parse(data) {
        assert_eq!(segment.source.is_ipv4(), segment.destination.is_ipv4());
        let written = segment.packet();
        assert_eq!(
            lb_checks::probe::segment::Segment::parse(&written),
            Some(segment)
        );
    }
    let asked = lb_checks::Dns {
        name: "www.example".to_owned(),
        record: lb_checks::RecordType::SOA,
    };
    let question = lb_checks::probe::dns::question(0x1234, &asked);
    // Half of them with the number that is waited for, which is hard to guess.
    let numbered = [&question[..2], data].concat();
    for message in [data, &numbered] {
        if lb_checks::probe::dns::judge(message, &question) == Some(Ok(())) {
            assert!(message.len() >= question.len() && message[..2] == question[..2]);
        }
    }
    if let Ok(set) = String::from_utf8_lossy(data).parse::<lb_checks::StatusSet>() {
        assert_eq!(set.to_string().parse(), Ok(set));
    }
}

/// Any text as a keepalived.conf: what it becomes is a configuration that can be written and read again, or every mistake
/// has its place.
pub fn keepalived(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let options = lb_keepalived::Options {
        config_id: "a".into(),
        ..lb_keepalived::Options::default()
    };
    match lb_keepalived::import(&OneFile(text), Path::new(KEEPALIVED_CONF), &options) {
        Err(report) => assert!(report.has_errors()),
        Ok(import) => {
            let written = lb_config::write(&import.settings);
            let read = lb_config::parse("lbd.toml".into(), written);
            assert_eq!(
                read.map_err(|refusal| refusal.to_string()),
                Ok(import.settings)
            );
        }
    }
}

const KEEPALIVED_CONF: &str = "k/keepalived.conf";

/// A disk with one file on it.
struct OneFile(String);

impl lb_keepalived::Files for OneFile {
    fn read(&self, path: &Path) -> io::Result<String> {
        match path == Path::new(KEEPALIVED_CONF) {
            true => Ok(self.0.clone()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![pattern.to_owned()])
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

/// In both families: two services in NAT mode, of whose servers the MAC of one is unknown, one in TUN mode with servers of
/// both families, and those of every [`Flow`].
fn worker() -> Worker<MemoryPort> {
    let mut config = Config::default();
    for (vip, rip, another) in [
        (IpAddr::from(VIP), IpAddr::from(RIP), UNRESOLVED.into()),
        (VIP6.into(), RIP6.into(), UNRESOLVED6.into()),
    ] {
        let service = |port, protocol, mode, servers: &[(IpAddr, u16)]| {
            let vip = Endpoint::new(vip.into(), port);
            let service = ServiceConfig::new(vip, protocol, "rr", mode);
            let servers = servers.iter();
            servers.fold(service, |service, (rip, rport)| {
                service.with_server(Endpoint::new((*rip).into(), *rport), 1)
            })
        };
        let tunnelled = [(RIP.into(), 55), (RIP6.into(), 55)];
        config.services.extend([
            service(80, Protocol::Tcp, "nat", &[(rip, 8080), (another, 8080)]),
            service(53, Protocol::Udp, "nat", &[(rip, 5353), (another, 5353)]),
            service(54, Protocol::Udp, "dr", &[(rip, 54), (another, 54)]),
            service(55, Protocol::Tcp, "tun", &tunnelled),
            service(55, Protocol::Udp, "tun", &tunnelled),
        ]);
    }
    config.services.extend(Flow::all().map(Flow::service));
    config.engine.capacity = 16;
    let engine = Engine::new(&config).expect("a valid configuration");
    engine.set_next_hops(next_hops());
    engine.worker(MemoryPort::new(300))
}

/// Any bytes over a packet of any mode, to its server or back: what came with right checksums leaves with right ones, within
/// its buffer.
///
/// The first byte chooses the [`Flow`], the second what is made of it; the rest is laid over the packet as in [`turn`].
pub fn rewrite(data: &[u8]) {
    let [choice, kind, bytes @ ..] = data else {
        return;
    };
    let flow = Flow::chosen(*choice);
    let mut worker = opened(flow);
    let (ingress, template) = match kind & 1 {
        0 => (InterfaceId(0), flow.sent()),
        _ => (InterfaceId(1), flow.answered()),
    };
    let mut frame = lay_over(&template, bytes);
    if kind & 2 == 0 {
        mend_transport_checksum(&mut frame);
    }
    deliver(&mut worker, ingress, &frame);
}

/// Any bytes over an ICMP error about a packet of any mode, as a router on either side sends it.
pub fn icmp_error(data: &[u8]) {
    let [choice, kind, code, rest, bytes @ ..] = data else {
        return;
    };
    let flow = Flow::chosen(*choice);
    let mut worker = opened(flow);
    let error = (*kind & 15, *code, u32::from(*rest) << 4);
    let (ingress, template) = match kind & 16 {
        0 => (InterfaceId(0), flow.error_from_clients_side(error)),
        _ => {
            worker
                .port_mut()
                .inject(InterfaceId(0), &flow.sent().bytes());
            turn_and_check(&mut worker, Time::ZERO);
            let (_, forwarded) = worker.port_mut().take_sent().expect("forwarded");
            (
                InterfaceId(1),
                flow.error_from_servers_side(error, &forwarded),
            )
        }
    };
    let mut frame = lay_over(&template, bytes);
    if kind & 32 == 0 {
        mend_icmp_checksum(&mut frame);
    }
    deliver(&mut worker, ingress, &frame);
    // What was learned of the path, if anything was, must not stop what every link carries.
    deliver(&mut worker, InterfaceId(0), &flow.sent().bytes());
}

/// A packet of any mode in any parts: those of a datagram that is cut where the bytes say, with those bytes over them.
pub fn fragments(data: &[u8]) {
    let [choice, kind, count, bytes @ ..] = data else {
        return;
    };
    let flow = Flow::chosen(*choice);
    let mut worker = opened(flow);
    let (ingress, template) = match kind & 1 {
        0 => (InterfaceId(0), flow.sent()),
        _ => (InterfaceId(1), flow.answered()),
    };
    let payload: Vec<u8> = (0..200 * usize::from(*count)).map(|n| n as u8).collect();
    let whole = template.id(7, kind & 2 != 0).payload(&payload);
    let size = 8 * (1 + usize::from(kind >> 2));
    let mut parts = whole.split(size);
    let mut changes = bytes;
    let mut seconds = 0;
    while let [place, what, tail @ ..] = changes
        && !parts.is_empty()
    {
        let part = parts.remove(usize::from(*place) % parts.len());
        let mut frame = part.bytes();
        changes = tail;
        if what & 1 != 0 {
            let len = usize::from(what >> 1).min(tail.len());
            frame = lay_over(&part, &tail[..len]);
            changes = &tail[len..];
        } else if what & 2 != 0 {
            parts.push(part);
        }
        seconds += u64::from(*what == 0xfe);
        worker.port_mut().inject(ingress, &frame);
        let now = Time::ZERO + Duration::from_secs(20 * seconds);
        turn_and_check(&mut worker, now);
        while worker.port_mut().take_sent().is_some() {}
    }
}

/// Any chain of IPv6 extension headers: the engine skips it as the plain reading of RFC 8200 does, or leaves the packet alone.
pub fn extension_headers(data: &[u8]) {
    let [last, first, body @ ..] = data else {
        return;
    };
    let mut frame = pkt()
        .ipv6(CIP6, VIP6)
        .carrying_bytes(*first, body.to_vec())
        .bytes();
    let expected = plainly_read(*first, body);
    match lb_wire::parse(&frame) {
        Ok(parsed) => {
            let found = (usize::from(parsed.l4) - 54, parsed.protocol);
            assert_eq!(Some(found), expected, "{frame:02x?}");
        }
        Err(lb_wire::Refused::Malformed) => {}
        Err(_) => assert!(
            !expected.is_some_and(|(_, protocol)| matches!(protocol, 6 | 17)),
            "{frame:02x?}"
        ),
    }
    mend_transport_checksum(&mut frame);
    let mut worker = opened(Flow::chosen(*last));
    deliver(&mut worker, InterfaceId(0), &frame);
}

/// Where the transport's header begins behind the fixed header, and its protocol; `None` if it is not reached.
fn plainly_read(mut kind: u8, body: &[u8]) -> Option<(usize, u8)> {
    const MOST: usize = 8;
    let mut at = 0;
    for _ in 0..=MOST {
        let is_routing = kind == 43;
        match kind {
            0 | 43 | 60 => {
                let header = body.get(at..at + 4)?;
                if is_routing && header[3] != 0 {
                    return None;
                }
                kind = header[0];
                at += 8 * (usize::from(header[1]) + 1);
            }
            44 => {
                let header = body.get(at..at + 8)?;
                if header[2] != 0 || header[3] & 0xf9 != 0 {
                    return None;
                }
                kind = header[0];
                at += 8;
            }
            _ => return (at <= body.len()).then_some((at, kind)),
        }
    }
    None
}

/// A worker with the flow's conn.
fn opened(flow: Flow) -> Worker<MemoryPort> {
    let mut worker = worker();
    let opening = flow.sent().syn().bytes();
    worker.port_mut().inject(InterfaceId(0), &opening);
    turn_and_check(&mut worker, Time::ZERO);
    assert!(worker.port_mut().take_sent().is_some(), "{flow:?}");
    worker
}

/// What the worker makes of a frame has right checksums if that had.
fn deliver(worker: &mut Worker<MemoryPort>, ingress: InterfaceId, frame: &[u8]) {
    let was_right = checksums_hold(frame);
    if !worker.port_mut().inject(ingress, frame) {
        return;
    }
    turn_and_check(worker, Time::ZERO);
    while let Some((_, sent)) = worker.port_mut().take_sent() {
        assert!(
            !was_right || checksums_hold(&sent),
            "{frame:02x?} became {sent:02x?}"
        );
    }
}

fn mend_icmp_checksum(frame: &mut [u8]) {
    let Some(error) = lb_wire::icmp_error(frame) else {
        return;
    };
    let (l4, end) = (usize::from(error.l4), usize::from(error.end));
    let pseudo = match error.ip {
        lb_wire::IpHeader::V4(_) => 0,
        lb_wire::IpHeader::V6(ip) => lb_wire::checksum::pseudo_header_v6(ip, 58, (end - l4) as u16),
    };
    frame[l4 + 2..l4 + 4].fill(0);
    let sum = pseudo + lb_wire::checksum::sum(&frame[l4..end]);
    frame[l4 + 2..l4 + 4].copy_from_slice(&(!lb_wire::checksum::fold(sum)).to_be_bytes());
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
