//! One pass over a frame: is it a whole IPv4 packet of TCP or UDP, and where are its parts.

use zerocopy::FromBytes;

use crate::checksum::{fold, sum};
use crate::{
    ETHERTYPE_IPV4, EthernetHeader, Ipv4Header, PROTOCOL_TCP, PROTOCOL_UDP, TcpHeader, UdpHeader,
};

/// What a frame holds and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Offset of the IP header.
    pub l3: u16,
    /// Offset of the TCP or UDP header.
    pub l4: u16,
    /// Offset of the end of the IP packet; Ethernet padding may follow.
    pub end: u16,
    /// IP protocol number: TCP or UDP.
    pub protocol: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// Why a frame was not parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// A length, version or checksum contradicts the frame.
    Malformed,
    /// A fragment of an IPv4 packet.
    Fragment,
    /// Whole, as far as it was looked at, but not IPv4 carrying TCP or UDP.
    Other,
}

/// Parses a frame.
///
/// After `Ok`, `l3..end` is an IPv4 packet with a valid header checksum, and `l4..end` holds a whole TCP or UDP
/// header.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Parsed, Refused> {
    let (ethernet, packet) =
        EthernetHeader::ref_from_prefix(frame).map_err(|_| Refused::Malformed)?;
    if ethernet.ethertype.get() != ETHERTYPE_IPV4 {
        return Err(Refused::Other);
    }
    let (ip, _) = Ipv4Header::ref_from_prefix(packet).map_err(|_| Refused::Malformed)?;
    let header_len = ip.header_len();
    let total_len = usize::from(ip.total_len.get());
    if ip.version() != 4
        || header_len < Ipv4Header::LEN
        || total_len < header_len
        || total_len > packet.len()
    {
        return Err(Refused::Malformed);
    }
    if fold(sum(&packet[..header_len])) != 0xffff {
        return Err(Refused::Malformed);
    }
    if !matches!(ip.protocol, PROTOCOL_TCP | PROTOCOL_UDP) {
        return Err(Refused::Other);
    }
    if ip.is_fragment() {
        return Err(Refused::Fragment);
    }
    let segment = &packet[header_len..total_len];
    let (source_port, destination_port, tcp_flags) = if ip.protocol == PROTOCOL_TCP {
        let (tcp, _) = TcpHeader::ref_from_prefix(segment).map_err(|_| Refused::Malformed)?;
        if tcp.header_len() < TcpHeader::LEN || tcp.header_len() > segment.len() {
            return Err(Refused::Malformed);
        }
        (tcp.source.get(), tcp.destination.get(), tcp.flags)
    } else {
        let (udp, _) = UdpHeader::ref_from_prefix(segment).map_err(|_| Refused::Malformed)?;
        let len = usize::from(udp.len.get());
        if len < UdpHeader::LEN || len > segment.len() {
            return Err(Refused::Malformed);
        }
        (udp.source.get(), udp.destination.get(), 0)
    };
    let end = u16::try_from(EthernetHeader::LEN + total_len).map_err(|_| Refused::Malformed)?;
    Ok(Parsed {
        l3: EthernetHeader::LEN as u16,
        l4: (EthernetHeader::LEN + header_len) as u16,
        end,
        protocol: ip.protocol,
        tcp_flags,
        source: ip.source,
        destination: ip.destination,
        source_port,
        destination_port,
    })
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
        let parsed = parse(&datagram()).expect("a valid datagram");
        assert_eq!((parsed.l3, parsed.l4, parsed.end), (14, 34, 42));
        assert_eq!((parsed.source_port, parsed.destination_port), (4000, 53));
        assert_eq!(parsed.destination, [10, 0, 0, 100]);
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
        let cases: [(&str, usize, u8); 6] = [
            ("version 6", 14, 0x65),
            ("header shorter than 20 bytes", 14, 0x44),
            ("total length beyond the frame", 17, 61),
            ("total length within the header", 17, 19),
            ("UDP length within its header", 39, 7),
            ("UDP length beyond the packet", 39, 9),
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
}
