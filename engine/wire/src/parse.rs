//! One pass over a frame: is it a whole IP packet of TCP or UDP, and where are its parts.

use zerocopy::FromBytes;

use crate::checksum::{fold, holds_without_options, is_partial, sum, words};
use crate::ethernet::{ETHERTYPE_PROVIDER_VLAN, ETHERTYPE_VLAN, VLAN_TAG_LEN};
use crate::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, Ipv4Header, Ipv6Header, PROTOCOL_TCP,
    PROTOCOL_UDP, TcpFlags, TcpHeader, UdpHeader,
};

/// What a frame holds and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed<'a> {
    /// The IP header.
    pub ip: IpHeader<'a>,
    /// Offset of the IP header.
    pub l3: u16,
    /// Offset of the TCP or UDP header, behind any options and extension headers.
    pub l4: u16,
    /// Offset of the end of the IP packet; Ethernet padding may follow.
    pub end: u16,
    /// IP protocol number: TCP or UDP.
    pub protocol: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Whether who forwards it need look at nothing but its ends: there are no IPv4 options, the transport checksum is whole, and
    /// of TCP it neither begins a connection nor ends one.
    pub is_plain: bool,
}

/// How many VLAN tags a frame may have: a customer's within a provider's (IEEE 802.1ad).
const MAX_TAGS: usize = 2;

/// What a frame carries behind any VLAN tags, and where that begins.
pub(crate) fn payload(frame: &[u8]) -> Result<(u16, usize), Refused> {
    let mut at = EthernetHeader::LEN;
    for _ in 0..=MAX_TAGS {
        let &[high, low] = frame.get(at - 2..at).ok_or(Refused::Malformed)? else {
            return Err(Refused::Malformed);
        };
        match u16::from_be_bytes([high, low]) {
            ETHERTYPE_VLAN | ETHERTYPE_PROVIDER_VLAN => at += VLAN_TAG_LEN,
            ethertype => return Ok((ethertype, at)),
        }
    }
    Err(Refused::Other)
}

/// The IP header of a frame, where it lies: its addresses are copied once, to where they are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpHeader<'a> {
    /// IPv4.
    V4(&'a Ipv4Header),
    /// IPv6; neither address is IPv4-mapped (RFC 4291 section 2.5.5.2), so that it cannot be taken for IPv4.
    V6(&'a Ipv6Header),
}

/// Why a frame was not parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// A length, version, address or checksum contradicts the frame or the protocol.
    Malformed,
    /// A fragment.
    Fragment,
    /// Whole, as far as it was looked at, but not TCP or UDP over IP to its last destination.
    Other,
}

/// Parses a frame.
///
/// After `Ok`, `l3..end` is an IP packet (over IPv4 with a valid header checksum), and `l4..end` begins with the fixed
/// part of a TCP or UDP header. What that says of lengths is not looked at: the receiver will, and so IPVS does it.
pub fn parse(frame: &[u8]) -> Result<Parsed<'_>, Refused> {
    parse_into(frame, Whole)
}

/// Where what [`parse_into`] finds goes.
pub trait Found<'a> {
    /// What comes of it.
    type Noted;

    /// Notes what was found; to be inlined always.
    fn note(self, parsed: Parsed<'a>) -> Self::Noted;
}

/// As it is.
struct Whole;

impl<'a> Found<'a> for Whole {
    type Noted = Parsed<'a>;

    #[inline(always)]
    fn note(self, parsed: Parsed<'a>) -> Parsed<'a> {
        parsed
    }
}

/// [`parse`], and note of what it found.
///
/// The way of each family notes by itself, in the caller's body, so that what was found goes from the frame to its place at
/// once. Where two ways meet, or of a call, the result goes through memory first, which doubles the cost of a parse.
#[inline(always)]
pub fn parse_into<'a, F: Found<'a>>(frame: &'a [u8], found: F) -> Result<F::Noted, Refused> {
    const L3: usize = EthernetHeader::LEN;
    let (ethernet, _) = EthernetHeader::ref_from_prefix(frame).map_err(|_| Refused::Malformed)?;
    match (ethernet.ethertype.get(), frame.get(L3)) {
        (ETHERTYPE_IPV4, Some(&V4_WITHOUT_OPTIONS)) => {
            Ok(found.note(parse_v4_without_options(&frame[L3..], L3)?))
        }
        (ETHERTYPE_IPV6, _) => Ok(found.note(parse_v6(&frame[L3..], L3)?)),
        _ => Ok(found.note(parse_any(frame)?)),
    }
}

/// Behind any tags, and with any options.
#[cold]
fn parse_any(frame: &[u8]) -> Result<Parsed<'_>, Refused> {
    let (ethertype, l3) = payload(frame)?;
    let packet = frame.get(l3..).ok_or(Refused::Malformed)?;
    match (ethertype, packet.first()) {
        (ETHERTYPE_IPV4, Some(&V4_WITHOUT_OPTIONS)) => parse_v4_without_options(packet, l3),
        (ETHERTYPE_IPV4, _) => parse_v4_with_options(packet, l3),
        (ETHERTYPE_IPV6, _) => parse_v6(packet, l3),
        _ => Err(Refused::Other),
    }
}

/// The first byte of an IPv4 header without options.
const V4_WITHOUT_OPTIONS: u8 = 0x45;

#[inline(always)]
fn parse_v4_without_options(packet: &[u8], l3: usize) -> Result<Parsed<'_>, Refused> {
    let (ip, _) = Ipv4Header::ref_from_prefix(packet).map_err(|_| Refused::Malformed)?;
    let total_len = usize::from(ip.total_len.get());
    if total_len < Ipv4Header::LEN || total_len > packet.len() || !holds_without_options(ip) {
        return Err(Refused::Malformed);
    }
    parse_v4_transport(&packet[..total_len], (l3, Ipv4Header::LEN), ip)
}

fn parse_v4_with_options(packet: &[u8], l3: usize) -> Result<Parsed<'_>, Refused> {
    let (ip, _) = Ipv4Header::ref_from_prefix(packet).map_err(|_| Refused::Malformed)?;
    let header_len = ip.header_len();
    let total_len = usize::from(ip.total_len.get());
    if ip.version() != 4
        || header_len < Ipv4Header::LEN
        || total_len < header_len
        || total_len > packet.len()
        || fold(sum(&packet[..header_len])) != 0xffff
    {
        return Err(Refused::Malformed);
    }
    let parsed = parse_v4_transport(&packet[..total_len], (l3, header_len), ip)?;
    Ok(Parsed {
        is_plain: false,
        ..parsed
    })
}

#[inline(always)]
fn parse_v4_transport<'a>(
    packet: &[u8],
    (l3, l4): (usize, usize),
    ip: &'a Ipv4Header,
) -> Result<Parsed<'a>, Refused> {
    if !matches!(ip.protocol, PROTOCOL_TCP | PROTOCOL_UDP) {
        return Err(Refused::Other);
    }
    if ip.is_fragment() {
        return Err(Refused::Fragment);
    }
    let addresses = words(&ip.source) + words(&ip.destination);
    parse_transport(packet, (l3, l4), ip.protocol, IpHeader::V4(ip), addresses)
}

#[inline(always)]
fn parse_v6(packet: &[u8], l3: usize) -> Result<Parsed<'_>, Refused> {
    let (ip, _) = Ipv6Header::ref_from_prefix(packet).map_err(|_| Refused::Malformed)?;
    let total_len = Ipv6Header::LEN + usize::from(ip.payload_len.get());
    if ip.version() != 6
        || total_len > packet.len()
        || is_mapped(&ip.source)
        || is_mapped(&ip.destination)
    {
        return Err(Refused::Malformed);
    }
    let packet = &packet[..total_len];
    let (l4, protocol) = match ip.next_header {
        protocol @ (PROTOCOL_TCP | PROTOCOL_UDP) => (Ipv6Header::LEN, protocol),
        first => skip_extension_headers::<false>(packet, first)?,
    };
    if !matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP) {
        return Err(Refused::Other);
    }
    let addresses = words(&ip.source) + words(&ip.destination);
    parse_transport(packet, (l3, l4), protocol, IpHeader::V6(ip), addresses)
}

/// `packet` lies at `l3` and ends where the IP packet ends; `l4` lies within it. The sum of its addresses is that of words as
/// they lie.
#[inline(always)]
fn parse_transport<'a>(
    packet: &[u8],
    (l3, l4): (usize, usize),
    protocol: u8,
    ip: IpHeader<'a>,
    addresses: u64,
) -> Result<Parsed<'a>, Refused> {
    let segment = &packet[l4..];
    // Both begin with the ports, and UDP's is the shorter one.
    let (udp, _) = UdpHeader::ref_from_prefix(segment).map_err(|_| Refused::Malformed)?;
    let (source_port, destination_port) = (udp.source.get(), udp.destination.get());
    let (tcp_flags, is_plain, checksum) = if protocol == PROTOCOL_TCP {
        let (tcp, _) = TcpHeader::ref_from_prefix(segment).map_err(|_| Refused::Malformed)?;
        let is_plain = TcpFlags(tcp.flags).acknowledge_only();
        (tcp.flags, is_plain, tcp.checksum)
    } else {
        (0, true, udp.checksum)
    };
    let end = u16::try_from(l3 + packet.len()).map_err(|_| Refused::Malformed)?;
    Ok(Parsed {
        ip,
        l3: l3 as u16,
        l4: (l3 + l4) as u16,
        end,
        protocol,
        tcp_flags,
        source_port,
        destination_port,
        is_plain: is_plain && !is_partial(checksum, addresses, protocol, segment.len() as u16),
    })
}

/// More than RFC 8200 section 4.1 lists, and a bound on what a packet can make us read.
pub(crate) const MAX_EXTENSION_HEADERS: usize = 8;

pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;
/// The lowest bits of a fragment's offset, in the fourth byte of its header.
const FRAGMENT_OFFSET: u8 = 0b1111_1000;
/// There are more fragments behind this one: a bit of the fourth byte of its header.
const FRAGMENT_MORE: u8 = 1;

/// Where what an IPv6 packet carries begins, and what it is. Of a fragment that is known if it is the first, and
/// asked for with `FIRST`.
#[inline]
pub(crate) fn skip_extension_headers<const FIRST: bool>(
    packet: &[u8],
    first: u8,
) -> Result<(usize, u8), Refused> {
    let (mut at, mut kind) = (Ipv6Header::LEN, first);
    for _ in 0..=MAX_EXTENSION_HEADERS {
        match kind {
            FRAGMENT => {
                let &[next, _, offset, flags, ..] = packet.get(at..).ok_or(Refused::Malformed)?
                else {
                    return Err(Refused::Malformed);
                };
                let more = flags & FRAGMENT_MORE != 0;
                // The only fragment of a packet (RFC 6946) is a whole packet behind one more header.
                if offset != 0 || flags & FRAGMENT_OFFSET != 0 || (more && !FIRST) {
                    return Err(Refused::Fragment);
                }
                at += 8;
                if at > packet.len() {
                    return Err(Refused::Malformed);
                }
                kind = next;
            }
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let &[next, len, _, segments_left, ..] =
                    packet.get(at..).ok_or(Refused::Malformed)?
                else {
                    return Err(Refused::Malformed);
                };
                // Not at its last destination yet: the kernel sends it on, or refuses to.
                if kind == ROUTING && segments_left != 0 {
                    return Err(Refused::Other);
                }
                at += 8 + 8 * usize::from(len);
                if at > packet.len() {
                    return Err(Refused::Malformed);
                }
                kind = next;
            }
            _ => return Ok((at, kind)),
        }
    }
    Err(Refused::Other)
}

const V4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

#[inline(always)]
pub(crate) fn is_mapped(addr: &[u8; 16]) -> bool {
    addr[..12] == V4_MAPPED
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP datagram without payload from 10.0.0.1:4000 to 10.0.0.100:53, padded to Ethernet's minimum.
    fn datagram() -> [u8; 60] {
        let mut frame = [0; 60];
        frame[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
        let header = [
            0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 100, 0x0f, 0xa0, 0,
            53, 0, 8, 0, 0,
        ];
        frame[14..42].copy_from_slice(&header);
        mend(&mut frame);
        frame
    }

    fn mend(frame: &mut [u8]) {
        frame[24..26].copy_from_slice(&[0, 0]);
        let header_len = usize::from(frame[14] & 0xf) * 4;
        let checksum = !fold(sum(&frame[14..14 + header_len]));
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }

    #[test]
    fn padding_is_not_part_of_the_packet() {
        let frame = datagram();
        let parsed = parse(&frame).expect("a valid datagram");
        assert_eq!((parsed.l3, parsed.l4, parsed.end), (14, 34, 42));
        assert_eq!((parsed.source_port, parsed.destination_port), (4000, 53));
        let IpHeader::V4(ip) = parsed.ip else {
            panic!("{:?}", parsed.ip)
        };
        assert_eq!(ip.destination, [10, 0, 0, 100]);
    }

    #[test]
    fn every_truncation_is_refused_without_panic() {
        let frame = datagram();
        for len in 0..42 {
            assert!(parse(&frame[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn contradictions_are_malformed() {
        let cases: [(&str, usize, u8); 4] = [
            ("version 6", 14, 0x65),
            ("header shorter than 20 bytes", 14, 0x44),
            ("total length beyond the frame", 17, 61),
            ("total length within the header", 17, 19),
        ];
        for (what, at, value) in cases {
            let mut frame = datagram();
            frame[at] = value;
            mend(&mut frame);
            assert_eq!(parse(&frame), Err(Refused::Malformed), "{what}");
        }
        let mut frame = datagram();
        frame[22] = 63;
        assert_eq!(
            parse(&frame),
            Err(Refused::Malformed),
            "a TTL that the checksum does not cover"
        );
    }

    #[test]
    fn lengths_that_only_the_receiver_can_judge_are_left_to_it() {
        for (what, at, value) in [("within its header", 39, 7), ("beyond the packet", 39, 9)] {
            let mut frame = datagram();
            frame[at] = value;
            assert!(parse(&frame).is_ok(), "UDP length {what}");
        }
    }

    #[test]
    fn two_vlan_tags_are_skipped_and_no_more() {
        let untagged = datagram();
        for (tags, expected) in [(1, Ok(18)), (2, Ok(22)), (3, Err(Refused::Other))] {
            let mut frame = untagged[..12].to_vec();
            for _ in 0..tags {
                frame.extend([0x81, 0, 0, 5]);
            }
            frame.extend(&untagged[12..]);
            let parsed = parse(&frame);
            assert_eq!(parsed.map(|parsed| usize::from(parsed.l3)), expected);
            for len in 0..frame.len().min(tags * 4 + 42) {
                assert!(parse(&frame[..len]).is_err());
            }
        }
    }

    #[test]
    fn fragments_and_other_protocols_are_told_apart() {
        for (flags_offset, expected) in [
            (0x2000u16, Err(Refused::Fragment)),
            (0x0001, Err(Refused::Fragment)),
        ] {
            let mut frame = datagram();
            frame[20..22].copy_from_slice(&flags_offset.to_be_bytes());
            mend(&mut frame);
            assert_eq!(parse(&frame), expected);
        }
        let mut icmp = datagram();
        icmp[23] = 1;
        mend(&mut icmp);
        assert_eq!(parse(&icmp), Err(Refused::Other));
        let mut arp = datagram();
        arp[13] = 6;
        assert_eq!(parse(&arp), Err(Refused::Other));
    }

    fn is_plain(frame: &[u8]) -> bool {
        parse(frame).expect("valid").is_plain
    }

    #[test]
    fn plain_is_what_has_only_ends_to_look_at() {
        let mut frame = datagram();
        assert!(is_plain(&frame), "no checksum");
        // The pseudo-header: the addresses, the protocol, the length.
        let partial: u16 = (0x0a00 + 0x0001) + (0x0a00 + 0x0064) + 17 + 8;
        frame[40..42].copy_from_slice(&partial.to_be_bytes());
        assert!(!is_plain(&frame), "a checksum left to a device");
        frame[41] ^= 1;
        assert!(is_plain(&frame), "any other");
        // The two bytes of its ports are options as well as any.
        let mut with_options = frame.to_vec();
        with_options.splice(34..34, [1, 1, 1, 0]);
        (with_options[14], with_options[17]) = (0x46, 32);
        let mut start: [u8; 60] = with_options[..60].try_into().expect("longer");
        mend(&mut start);
        with_options[..60].copy_from_slice(&start);
        assert!(!is_plain(&with_options), "options");
        let vlan = [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
        assert!(is_plain(&vlan), "behind a tag");
    }

    #[test]
    fn of_tcp_only_what_acknowledges_and_no_more_is_plain() {
        let with = |flags: TcpFlags| {
            let mut frame = datagram();
            (frame[17], frame[23]) = (40, PROTOCOL_TCP);
            (frame[46], frame[47]) = (0x50, flags.0);
            mend(&mut frame);
            is_plain(&frame)
        };
        let ack = TcpFlags::ACK;
        assert!(with(ack) && with(ack.with(TcpFlags::PSH)));
        for other in [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST] {
            assert!(!with(other) && !with(ack.with(other)));
        }
        assert!(!with(TcpFlags::PSH));
    }

    const A: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const B: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    /// What an extension header is, and its bytes from the third on.
    type Extension<'a> = (u8, &'a [u8]);

    /// A UDP datagram without payload from `A` port 4000 to `B` port 53 behind these extension headers.
    fn datagram_v6(extensions: &[Extension<'_>]) -> Vec<u8> {
        let kinds = extensions.iter().map(|(kind, _)| *kind);
        let mut next = kinds.clone().skip(1).chain([PROTOCOL_UDP]);
        let mut payload = Vec::new();
        for (_, body) in extensions {
            payload.extend([next.next().expect("one each"), (body.len() / 8) as u8]);
            payload.extend(*body);
        }
        payload.extend([0x0f, 0xa0, 0, 53, 0, 8, 0, 0]);
        let mut frame = vec![0; 12];
        frame.extend(ETHERTYPE_IPV6.to_be_bytes());
        frame.extend([0x60, 0, 0, 0]);
        frame.extend((payload.len() as u16).to_be_bytes());
        frame.extend([
            kinds.chain([PROTOCOL_UDP]).next().expect("UDP at least"),
            64,
        ]);
        frame.extend(A);
        frame.extend(B);
        frame.extend(payload);
        frame
    }

    const SHORT: &[u8] = &[0; 6];
    const LONG: &[u8] = &[0; 14];

    #[test]
    fn both_families_parse_alike_and_extension_headers_are_skipped() {
        let mut padded = datagram_v6(&[]);
        padded.resize(80, 0xee);
        let parsed = parse(&padded).expect("a valid datagram");
        assert_eq!((parsed.l3, parsed.l4, parsed.end), (14, 54, 62));
        let IpHeader::V6(ip) = parsed.ip else {
            panic!("{:?}", parsed.ip)
        };
        assert_eq!((ip.source, ip.destination), (A, B));
        assert_eq!((parsed.source_port, parsed.destination_port), (4000, 53));
        assert_eq!(parsed.protocol, PROTOCOL_UDP);

        let all = [
            (HOP_BY_HOP, SHORT),
            (ROUTING, LONG),
            (FRAGMENT, &[0, 0, 0, 0, 0, 7]),
            (DESTINATION_OPTIONS, SHORT),
        ];
        let frame = datagram_v6(&all);
        let parsed = parse(&frame).expect("a valid datagram");
        assert_eq!((parsed.l4, parsed.end), (54 + 40, 62 + 40));
        assert_eq!(parsed.destination_port, 53);
    }

    #[test]
    fn every_truncation_of_an_ipv6_packet_is_refused_without_panic() {
        let frame = datagram_v6(&[(HOP_BY_HOP, LONG), (DESTINATION_OPTIONS, SHORT)]);
        for len in 0..frame.len() {
            assert!(parse(&frame[..len]).is_err(), "{len}");
            // And when the header agrees that there is no more.
            let mut cut = frame[..len].to_vec();
            if let Some(payload_len) = len.checked_sub(54) {
                cut[18..20].copy_from_slice(&(payload_len as u16).to_be_bytes());
                assert_eq!(parse(&cut), Err(Refused::Malformed), "{len}");
            }
        }
    }

    #[test]
    fn eight_extension_headers_are_skipped_and_no_more() {
        assert!(parse(&datagram_v6(&[(DESTINATION_OPTIONS, SHORT); 8])).is_ok());
        assert_eq!(
            parse(&datagram_v6(&[(DESTINATION_OPTIONS, SHORT); 9])),
            Err(Refused::Other)
        );
    }

    #[test]
    fn ipv6_packets_that_are_not_for_us_to_balance_are_told_apart() {
        const AUTHENTICATION: u8 = 51;
        let cases: [(&str, &[Extension<'_>], Refused); 5] = [
            (
                "fragment",
                &[(FRAGMENT, &[0, 1, 0, 0, 0, 7])],
                Refused::Fragment,
            ),
            (
                "fragment behind an extension header",
                &[(HOP_BY_HOP, SHORT), (FRAGMENT, &[1, 0, 0, 0, 0, 7])],
                Refused::Fragment,
            ),
            ("authenticated", &[(AUTHENTICATION, SHORT)], Refused::Other),
            ("no next header", &[(59, SHORT)], Refused::Other),
            (
                "a hop of its source route left",
                &[(ROUTING, &[0, 1, 0, 0, 0, 0])],
                Refused::Other,
            ),
        ];
        for (what, extensions, expected) in cases {
            assert_eq!(parse(&datagram_v6(extensions)), Err(expected), "{what}");
        }
    }

    #[test]
    fn an_ipv4_mapped_address_does_not_stand_in_an_ipv6_header() {
        for at in [22, 38] {
            let mut frame = datagram_v6(&[]);
            frame[at..at + 12].copy_from_slice(&V4_MAPPED);
            assert_eq!(parse(&frame), Err(Refused::Malformed));
        }
        let mut frame = datagram_v6(&[]);
        frame[14] = 0x45;
        assert_eq!(parse(&frame), Err(Refused::Malformed), "version 4");
    }
}
