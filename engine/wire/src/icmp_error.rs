//! ICMP errors: a message about a packet, which it quotes from its IP header on.
//!
//! An error is followed like a packet of the conn that it quotes. Which kinds are is IPVS's choice (kernel
//! `ip_vs_in_icmp`, `ip_vs_out_icmp`): those that say that a packet did not arrive, or how it would. What a tunnel's
//! packet carried is looked into once, in either family: for IPv4 within IPv4 as IPVS does, for the others after RFC 2473
//! section 8.

use crate::parse::{payload, skip_extension_headers};
use crate::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, IcmpHeader, IpHeader, Ipv4Header, Ipv6Header};
use crate::{GreHeader, GueHeader, PROTOCOL_GRE, PROTOCOL_IPV4, PROTOCOL_IPV6, UdpHeader};
use crate::{PROTOCOL_ICMP, PROTOCOL_ICMP_V6, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::{icmp_v4, icmp_v6};
use zerocopy::FromBytes;

/// An error, and what it quotes.
#[derive(Clone, Copy, Debug)]
pub struct IcmpError<'a> {
    /// The IP header of the error itself.
    pub ip: IpHeader<'a>,
    /// Offset of the error's IP header.
    pub l3: u16,
    /// Offset of its ICMP header.
    pub l4: u16,
    /// Offset of the end of its IP packet.
    pub end: u16,
    /// The packet that it is about.
    pub quoted: Quoted<'a>,
    /// Offset of the IP header of a tunnel that carried the quoted packet: the error is about that.
    pub tunnel: Option<u16>,
}

/// A packet as an error quotes it: its headers up to the ports, at least.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    /// Its IP header.
    pub ip: IpHeader<'a>,
    /// Offset of its IP header.
    pub l3: u16,
    /// Offset of its TCP or UDP header.
    pub l4: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// An IP header that an error quotes, and where what it carries begins.
#[derive(Clone, Copy, Debug)]
pub struct QuotedHeader<'a> {
    /// The header.
    pub ip: IpHeader<'a>,
    /// Its offset.
    pub l3: usize,
    /// Offset of what follows it and its options or extension headers.
    pub l4: usize,
    /// The IP protocol number of that.
    pub protocol: u8,
}

/// Reads a frame that [`parse`](crate::parse()) refused as [`Other`](crate::Refused::Other) as an ICMP error about a TCP
/// or UDP packet; `None` if it is none, or not one that is followed. The ICMP checksum is not looked at.
///
/// A UDP packet may be a tunnel's: [`icmp_error_in_gue`] tells of the packet inside of one that is.
pub fn icmp_error(frame: &[u8]) -> Option<IcmpError<'_>> {
    read(frame, |frame, outer| {
        let inner = match outer.protocol {
            PROTOCOL_TCP | PROTOCOL_UDP => return Some((outer, None)),
            PROTOCOL_IPV4 | PROTOCOL_IPV6 => (outer.l4, outer.protocol),
            PROTOCOL_GRE => behind_gre(frame, outer.l4)?,
            _ => return None,
        };
        Some((of_protocol(frame, inner)?, Some(outer)))
    })
}

/// Reads an [`icmp_error`] about a UDP packet as one about the packet within that, if it looks like generic UDP
/// encapsulation. Nothing in the bytes says that it is no payload of another kind: who asks has tried the other reading, and
/// knows the port.
pub fn icmp_error_in_gue(frame: &[u8]) -> Option<IcmpError<'_>> {
    read(frame, |frame, outer| {
        if outer.protocol != PROTOCOL_UDP {
            return None;
        }
        let inner = behind_gue(frame, outer.l4)?;
        Some((of_protocol(frame, inner)?, Some(outer)))
    })
}

/// The IP header at `at` of what an error quotes.
pub fn quoted_header(frame: &[u8], at: usize) -> Option<QuotedHeader<'_>> {
    let quote = frame.get(at..)?;
    match quote.first()? >> 4 {
        4 => {
            let (ip, _) = Ipv4Header::ref_from_prefix(quote).ok()?;
            if ip.header_len() < Ipv4Header::LEN || ip.is_later_fragment() {
                return None;
            }
            Some(QuotedHeader {
                ip: IpHeader::V4(ip),
                l3: at,
                l4: at + ip.header_len(),
                protocol: ip.protocol,
            })
        }
        6 => {
            let (ip, _) = Ipv6Header::ref_from_prefix(quote).ok()?;
            let (l4, protocol) = skip_extension_headers::<true>(quote, ip.next_header).ok()?;
            Some(QuotedHeader {
                ip: IpHeader::V6(ip),
                l3: at,
                l4: at + l4,
                protocol,
            })
        }
        _ => None,
    }
}

/// Of what an error quotes: the header of the packet that it is about, and that of the tunnel around it.
type Found<'a> = (QuotedHeader<'a>, Option<QuotedHeader<'a>>);

fn read<'a>(
    frame: &'a [u8],
    look_inside: impl FnOnce(&'a [u8], QuotedHeader<'a>) -> Option<Found<'a>>,
) -> Option<IcmpError<'a>> {
    let (ethertype, l3) = payload(frame).ok()?;
    let (ip, l4, len) = match ethertype {
        ETHERTYPE_IPV4 => outer_v4(&frame[l3..])?,
        ETHERTYPE_IPV6 => outer_v6(&frame[l3..])?,
        _ => return None,
    };
    let (l4, end) = (l3 + l4, l3 + len);
    let frame = frame.get(..end)?;
    let about = quoted_header(frame, l4 + IcmpHeader::LEN)?;
    if matches!(about.ip, IpHeader::V4(_)) != matches!(ip, IpHeader::V4(_)) {
        return None;
    }
    let (packet, tunnel) = look_inside(frame, about)?;
    let offset = |at: usize| u16::try_from(at).ok();
    Some(IcmpError {
        ip,
        l3: offset(l3)?,
        l4: offset(l4)?,
        end: offset(end)?,
        quoted: segment(frame, packet)?,
        tunnel: tunnel.and_then(|outer| offset(outer.l3)),
    })
}

/// The header, where the message begins, and where the packet ends.
type Outer<'a> = (IpHeader<'a>, usize, usize);

fn outer_v4(packet: &[u8]) -> Option<Outer<'_>> {
    let ip = Ipv4Header::at(packet, 0)?;
    let icmp = IcmpHeader::at(packet, ip.header_len())?;
    let followed = match icmp.kind {
        icmp_v4::DESTINATION_UNREACHABLE | icmp_v4::SOURCE_QUENCH | icmp_v4::TIME_EXCEEDED => {
            ip.protocol == PROTOCOL_ICMP && !ip.is_fragment()
        }
        _ => false,
    };
    followed.then_some((IpHeader::V4(ip), ip.header_len(), ip.total_len.get().into()))
}

fn outer_v6(packet: &[u8]) -> Option<Outer<'_>> {
    let ip = Ipv6Header::at(packet, 0)?;
    let len = Ipv6Header::LEN + usize::from(ip.payload_len.get());
    let (l4, protocol) =
        skip_extension_headers::<false>(packet.get(..len)?, ip.next_header).ok()?;
    let icmp = IcmpHeader::at(packet, l4)?;
    let followed = match icmp.kind {
        icmp_v6::DESTINATION_UNREACHABLE | icmp_v6::PACKET_TOO_BIG | icmp_v6::TIME_EXCEEDED => {
            protocol == PROTOCOL_ICMP_V6
        }
        _ => false,
    };
    followed.then_some((IpHeader::V6(ip), l4, len))
}

/// Where a packet within another begins, and its IP protocol number.
type Inner = (usize, u8);

fn behind_gre(frame: &[u8], at: usize) -> Option<Inner> {
    let (gre, _) = GreHeader::ref_from_prefix(frame.get(at..)?).ok()?;
    let checksum = match gre.flags_version.get() {
        0 => 0,
        GreHeader::CHECKSUM => GreHeader::CHECKSUM_LEN,
        // No tunnel of ours.
        _ => return None,
    };
    let protocol = match gre.protocol.get() {
        ETHERTYPE_IPV4 => PROTOCOL_IPV4,
        ETHERTYPE_IPV6 => PROTOCOL_IPV6,
        _ => return None,
    };
    Some((at + GreHeader::LEN + checksum, protocol))
}

fn behind_gue(frame: &[u8], udp: usize) -> Option<Inner> {
    let at = udp + UdpHeader::LEN;
    let (gue, _) = GueHeader::ref_from_prefix(frame.get(at..)?).ok()?;
    (gue.version_control_len == 0 && gue.flags.get() == 0)
        .then_some((at + GueHeader::LEN, gue.protocol))
}

/// The header of a packet that was announced as one of this protocol.
fn of_protocol(frame: &[u8], (at, protocol): Inner) -> Option<QuotedHeader<'_>> {
    quoted_header(frame, at).filter(|header| {
        protocol
            == match header.ip {
                IpHeader::V4(_) => PROTOCOL_IPV4,
                IpHeader::V6(_) => PROTOCOL_IPV6,
            }
    })
}

fn segment<'a>(frame: &[u8], header: QuotedHeader<'a>) -> Option<Quoted<'a>> {
    let QuotedHeader {
        ip,
        l3,
        l4,
        protocol,
    } = header;
    if !matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP) {
        return None;
    }
    let &[a, b, c, d] = frame.get(l4..l4 + 4)? else {
        return None;
    };
    Some(Quoted {
        ip,
        l3: u16::try_from(l3).ok()?,
        l4: u16::try_from(l4).ok()?,
        protocol,
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 192.0.2.9 to 10.0.0.100: port unreachable, about 10.0.0.100:80 to 192.0.2.1:4000, of which four bytes
    /// behind the IP header are quoted.
    fn error(kind: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend([0x45, 0, 0, 52, 0, 1, 0, 0, 64, PROTOCOL_ICMP, 0, 0]);
        frame.extend([192, 0, 2, 9, 10, 0, 0, 100, kind, 3, 0, 0, 0, 0, 0, 0]);
        frame.extend([0x45, 0, 0, 40, 0, 2, 0x40, 0, 60, PROTOCOL_TCP, 0, 0]);
        frame.extend([10, 0, 0, 100, 192, 0, 2, 1, 0, 80, 0x0f, 0xa0]);
        frame
    }

    #[test]
    fn the_quoted_packet_is_found_by_its_first_bytes() {
        let frame = error(icmp_v4::TIME_EXCEEDED);
        let found = icmp_error(&frame).expect("an error");
        assert_eq!((found.l3, found.l4, found.end), (14, 34, 66));
        assert_eq!((found.quoted.l3, found.quoted.l4), (42, 62));
        let ports = (found.quoted.source_port, found.quoted.destination_port);
        assert_eq!((ports, found.tunnel), ((80, 4000), None));
    }

    #[test]
    fn what_is_not_followed_is_no_error_of_a_conn() {
        const ECHO: u8 = 8;
        for kind in [ECHO, icmp_v4::PARAMETER_PROBLEM] {
            assert!(icmp_error(&error(kind)).is_none(), "{kind}");
        }
        for (what, at, value) in [
            ("a later fragment quoted", 49, 1),
            ("ICMP quoted", 51, PROTOCOL_ICMP),
            ("IPv6 quoted", 42, 0x65),
            ("a header of 16 bytes quoted", 42, 0x44),
            ("a fragment itself", 20, 0x20),
        ] {
            let mut frame = error(icmp_v4::TIME_EXCEEDED);
            frame[at] = value;
            assert!(icmp_error(&frame).is_none(), "{what}");
        }
    }

    #[test]
    fn every_truncation_is_refused_without_panic() {
        let frame = error(icmp_v4::DESTINATION_UNREACHABLE);
        for len in 0..frame.len() {
            assert!(icmp_error(&frame[..len]).is_none(), "{len}");
        }
    }

    #[test]
    fn a_tunnel_is_looked_into_once() {
        let mut frame = error(icmp_v4::DESTINATION_UNREACHABLE);
        let inner = frame[42..].to_vec();
        let outer = frame[42..62].to_vec();
        frame[51] = PROTOCOL_IPV4;
        frame[17] = 72;
        frame.truncate(62);
        frame.extend(&inner);
        let found = icmp_error(&frame).expect("an error");
        assert_eq!((found.tunnel, found.quoted.l3), (Some(42), 62));
        frame.splice(62..62, outer);
        frame[71] = PROTOCOL_IPV4;
        assert!(icmp_error(&frame).is_none());
    }
}
