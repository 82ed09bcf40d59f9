//! ICMP errors of our own: what the sender of a packet that ends here is told (kernel `icmp_send`, `icmp6_send`).
//!
//! The packet's own frame is turned round: the error quotes the packet, so all of it that matters is there already.

use std::ops::Range;

use lb_model::{Addr, Direction, DropReason, HopCache, Packet, Time};
use lb_wire::checksum::{fold, pseudo_header_v6, sum};
use lb_wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, IcmpHeader, Ipv4Header, Ipv6Header};
use lb_wire::{PROTOCOL_ICMP, PROTOCOL_ICMP_V6, icmp_v4, icmp_v6};
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

/// The longest ICMP error over IPv4: what any host must take (RFC 1812 section 4.3.2.3).
const LONGEST_V4: usize = 576;
/// The longest ICMPv6 error: what any link must carry (RFC 4443 section 2.4).
const LONGEST_V6: usize = 1280;
/// The TTL of the machine's own packets (`net.ipv4.ip_default_ttl`).
const TTL: u8 = 64;
/// Errors have precedence "internetwork control" (RFC 1812 section 4.3.2.5) and otherwise the TOS of what they quote.
const INTERNETWORK_CONTROL: u8 = 0xc0;
const TOS_MASK: u8 = 0x1e;

/// What an error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    pub kind: u8,
    pub code: u8,
    pub rest: u32,
}

/// What the sender of a packet is told about its end; `None` if nothing.
pub fn about(packet: &Packet, reason: DropReason) -> Option<Message> {
    // Nobody is told of the end of an error (RFC 1122 section 3.2.2).
    if packet.related.is_some() || !is_one_host(packet.flow.source.addr) {
        return None;
    }
    let detail = packet.detail;
    let (v4, v6) = match reason {
        DropReason::NoDest | DropReason::UnknownReply => (
            (icmp_v4::DESTINATION_UNREACHABLE, icmp_v4::PORT_UNREACHABLE),
            (icmp_v6::DESTINATION_UNREACHABLE, icmp_v6::PORT_UNREACHABLE),
        ),
        DropReason::TtlExceeded => ((icmp_v4::TIME_EXCEEDED, 0), (icmp_v6::TIME_EXCEEDED, 0)),
        // Without an MTU, it had been rewritten already, and its sender would not know it again.
        DropReason::TooBig if detail > 0 => (
            (
                icmp_v4::DESTINATION_UNREACHABLE,
                icmp_v4::FRAGMENTATION_NEEDED,
            ),
            (icmp_v6::PACKET_TOO_BIG, 0),
        ),
        DropReason::BadOption => {
            let (kind, rest) = (icmp_v4::PARAMETER_PROBLEM, detail << 24);
            return Some(Message {
                kind,
                code: 0,
                rest,
            });
        }
        _ => return None,
    };
    let (kind, code) = if packet.flow.source.addr.is_v4() {
        v4
    } else {
        v6
    };
    let rest = if reason == DropReason::TooBig {
        detail
    } else {
        0
    };
    Some(Message { kind, code, rest })
}

/// The address that an error about `packet` comes from: the one that the packet was sent to, if that is a service's, or
/// else ours on the way back.
pub fn source(packet: &Packet, hops: &mut HopCache) -> Option<Addr> {
    let inbound = match packet.hit {
        Some(hit) => hit.direction == Direction::Inbound,
        None => packet.service.is_some(),
    };
    if inbound {
        Some(packet.flow.destination.addr)
    } else {
        hops.source_for(packet.flow.source.addr)
    }
}

/// Makes the packet an error about what stands at `quote` in its frame, from `source` to where that came from; `false` if
/// its frame has no room for that.
#[must_use]
pub fn turn_round(
    packet: &mut Packet,
    source: Addr,
    quote: Range<usize>,
    message: Message,
) -> bool {
    let l3 = usize::from(packet.headers.l3);
    let Some(to) = sender(packet.frame.bytes(), quote.start, source) else {
        return false;
    };
    let (header_len, longest) = if source.is_v4() {
        (Ipv4Header::LEN, LONGEST_V4)
    } else {
        (Ipv6Header::LEN, LONGEST_V6)
    };
    let l4 = l3 + header_len;
    let begin = l4 + IcmpHeader::LEN;
    let quoted = quote.len().min(l3 + longest - begin);
    let end = begin + quoted;
    let len = packet.frame.len();
    if end > len && !packet.frame.resize(end) {
        return false;
    }
    let frame = packet.frame.bytes_mut();
    let tos = Ipv4Header::at(frame, quote.start).map_or(0, |ip| ip.tos);
    frame.copy_within(quote.start..quote.start + quoted, begin);
    let icmp = IcmpHeader {
        kind: message.kind,
        code: message.code,
        checksum: U16::ZERO,
        rest: U32::new(message.rest),
    };
    frame[l4..begin].copy_from_slice(icmp.as_bytes());
    let body = sum(&frame[l4..end]);
    let checksum = if let (Some(from), Some(to)) = (source.as_v4(), to.as_v4()) {
        let ip = header_v4(from, to, end - l3, tos);
        frame[l3 - 2..l3].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
        frame[l3..l4].copy_from_slice(ip.as_bytes());
        fold(body)
    } else {
        let ip = header_v6(source, to, end - l4);
        frame[l3 - 2..l3].copy_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
        frame[l3..l4].copy_from_slice(ip.as_bytes());
        fold(body + pseudo_header_v6(&ip, PROTOCOL_ICMP_V6, (end - l4) as u16))
    };
    if let Some(icmp) = IcmpHeader::at_mut(frame, l4) {
        icmp.checksum = U16::new(!checksum);
    }
    let shrunk = packet.frame.resize(end);
    debug_assert!(shrunk, "it was made as long before");
    packet.headers.l4 = l4 as u16;
    packet.headers.end = end as u16;
    packet.route_to = to;
    true
}

/// The source of the packet at `at`, if it is of the family of `like`.
fn sender(frame: &[u8], at: usize, like: Addr) -> Option<Addr> {
    if like.is_v4() {
        Ipv4Header::at(frame, at).map(|ip| Addr::v4(ip.source))
    } else {
        Ipv6Header::at(frame, at).map(|ip| Addr::v6(ip.source))
    }
}

fn header_v4(source: [u8; 4], destination: [u8; 4], len: usize, tos: u8) -> Ipv4Header {
    let mut header = Ipv4Header {
        version_ihl: 0x45,
        tos: tos & TOS_MASK | INTERNETWORK_CONTROL,
        total_len: U16::new(len as u16),
        // As short as that it is not fragmented anywhere.
        id: U16::ZERO,
        flags_offset: U16::ZERO,
        ttl: TTL,
        protocol: PROTOCOL_ICMP,
        checksum: U16::ZERO,
        source,
        destination,
    };
    header.compute_checksum();
    header
}

fn header_v6(source: Addr, destination: Addr, payload_len: usize) -> Ipv6Header {
    Ipv6Header {
        version_class_flow: U32::new(6 << 28),
        payload_len: U16::new(payload_len as u16),
        next_header: PROTOCOL_ICMP_V6,
        hop_limit: TTL,
        source: *source.octets(),
        destination: *destination.octets(),
    }
}

/// Whether an answer to `addr` would reach one host (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
fn is_one_host(addr: Addr) -> bool {
    match addr.as_v4() {
        Some([first, ..]) => !matches!(first, 0 | 127 | 224..),
        None => addr.octets()[0] != 0xff && *addr.octets() != [0; 16],
    }
}

/// How often: a bucket of tokens, refilled as time passes.
pub struct Limiter {
    tokens: f64,
    since: Option<Time>,
}

impl Limiter {
    pub fn new() -> Limiter {
        Limiter {
            tokens: 0.0,
            since: None,
        }
    }

    /// Takes a token of `per_second`, of which at most `burst` are saved up; with 0 per second there is no limit.
    pub fn allows(&mut self, now: Time, per_second: u32, burst: u32) -> bool {
        if per_second == 0 {
            return true;
        }
        let burst = f64::from(burst.max(1));
        let gained = self.since.map_or(burst, |since| {
            now.since(since).as_secs_f64() * f64::from(per_second)
        });
        self.tokens = (self.tokens + gained).min(burst);
        self.since = Some(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_allowed_and_then_so_many_a_second() {
        let mut limiter = Limiter::new();
        let allowed =
            |limiter: &mut Limiter, now| (0..100).filter(|_| limiter.allows(now, 10, 5)).count();
        let start = Time::ZERO + Duration::from_secs(7);
        assert_eq!(allowed(&mut limiter, start), 5);
        assert_eq!(allowed(&mut limiter, start + Duration::from_millis(200)), 2);
        assert_eq!(allowed(&mut limiter, start + Duration::from_secs(60)), 5);
        assert!((0..100).all(|_| limiter.allows(start, 0, 5)));
    }
}
