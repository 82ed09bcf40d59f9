//! TCP segments by hand, for those that no socket of the kernel would send: to an address that is our own, out to another
//! machine that has it, too.

use std::net::{IpAddr, SocketAddr};

use lb_wire::{Ipv4Header, Ipv6Header, TcpFlags, TcpHeader, checksum};
use zerocopy::IntoBytes;

const TCP: u8 = 6;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;

/// A server that has lost the VIP and forwards packets may not send this one on, least of all back to us.
const ONE_HOP: u8 = 1;
const HOPS: u8 = 64;

/// A segment without data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes, in the same family.
    pub destination: SocketAddr,
    /// SYN, or what else.
    pub flags: TcpFlags,
    /// Its sequence number.
    pub sequence: u32,
    /// Its acknowledgement number.
    pub acknowledgement: u32,
}

impl Segment {
    /// As a packet.
    pub fn packet(&self) -> Vec<u8> {
        let tcp = TcpHeader {
            source: self.source.port().into(),
            destination: self.destination.port().into(),
            sequence: self.sequence.into(),
            acknowledgement: self.acknowledgement.into(),
            data_offset: (TcpHeader::LEN as u8 / 4) << 4,
            flags: self.flags.0,
            window: 1024.into(),
            checksum: 0.into(),
            urgent: 0.into(),
        };
        let ends = (self.source.ip(), self.destination.ip());
        let mut packet = around(ends, TCP, ONE_HOP, tcp.as_bytes());
        let l4 = packet.len() - TcpHeader::LEN;
        let pseudo = match ends.0 {
            IpAddr::V4(_) => Ipv4Header::at(&packet, 0)
                .map(|ip| checksum::pseudo_header_v4(ip, TcpHeader::LEN as u16)),
            IpAddr::V6(_) => Ipv6Header::at(&packet, 0)
                .map(|ip| checksum::pseudo_header_v6(ip, TCP, TcpHeader::LEN as u16)),
        };
        let sum = pseudo.unwrap_or_default() + checksum::sum(&packet[l4..]);
        if let Some(tcp) = TcpHeader::at_mut(&mut packet, l4) {
            tcp.checksum = (!checksum::fold(sum)).into();
        }
        packet
    }

    /// The segment in a packet, from its IP header on, if it is a whole TCP header without anything between.
    pub fn parse(packet: &[u8]) -> Option<Segment> {
        let (l4, source, destination): (usize, IpAddr, IpAddr) = match packet.first()? >> 4 {
            4 => {
                let ip = Ipv4Header::at(packet, 0)?;
                let is_tcp = ip.protocol == TCP && !ip.is_later_fragment();
                let ends = (ip.source.into(), ip.destination.into());
                is_tcp.then_some((ip.header_len(), ends.0, ends.1))?
            }
            6 => {
                let ip = Ipv6Header::at(packet, 0)?;
                let ends = (ip.source.into(), ip.destination.into());
                (ip.next_header == TCP).then_some((Ipv6Header::LEN, ends.0, ends.1))?
            }
            _ => return None,
        };
        let tcp = TcpHeader::at(packet, l4)?;
        Some(Segment {
            source: SocketAddr::new(source, tcp.source.get()),
            destination: SocketAddr::new(destination, tcp.destination.get()),
            flags: TcpFlags(tcp.flags),
            sequence: tcp.sequence.get(),
            acknowledgement: tcp.acknowledgement.get(),
        })
    }
}

/// The packet within another from and to these addresses (RFC 2003, RFC 2473).
pub fn tunnelled(ends: (IpAddr, IpAddr), packet: &[u8]) -> Vec<u8> {
    let protocol = match packet.first().map(|first| first >> 4) {
        Some(6) => IPV6_IN_IP,
        _ => IPV4_IN_IP,
    };
    around(ends, protocol, HOPS, packet)
}

/// An IP header and what it carries. The kernel completes an IPv4 header's length and checksum as it sends it.
fn around(
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    hops: u8,
    carried: &[u8],
) -> Vec<u8> {
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Ipv4Header {
            version_ihl: 0x45,
            tos: 0,
            total_len: ((Ipv4Header::LEN + carried.len()) as u16).into(),
            id: 0.into(),
            flags_offset: Ipv4Header::DONT_FRAGMENT.into(),
            ttl: hops,
            protocol,
            checksum: 0.into(),
            source: source.octets(),
            destination: destination.octets(),
        }
        .as_bytes()
        .to_vec(),
        (source, destination) => Ipv6Header {
            version_class_flow: (6 << 28).into(),
            payload_len: (carried.len() as u16).into(),
            next_header: protocol,
            hop_limit: hops,
            source: wide(source),
            destination: wide(destination),
        }
        .as_bytes()
        .to_vec(),
    };
    if let Some(ip) = Ipv4Header::at_mut(&mut packet, 0).filter(|ip| ip.version() == 4) {
        let sum = checksum::sum(ip.as_bytes());
        ip.checksum = (!checksum::fold(sum)).into();
    }
    packet.extend_from_slice(carried);
    packet
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> [Segment; 2] {
        [
            ("192.0.2.1:4000", "10.0.0.100:80"),
            ("[2001:db8::1]:4000", "[2001:db8::100]:80"),
        ]
        .map(|(source, destination)| Segment {
            source: source.parse().expect("valid"),
            destination: destination.parse().expect("valid"),
            flags: TcpFlags::SYN,
            sequence: 0x0102_0304,
            acknowledgement: 0xfffe_fdfc,
        })
    }

    #[test]
    fn a_segment_is_read_as_it_was_written_and_its_checksums_hold() {
        for segment in segments() {
            let packet = segment.packet();
            assert_eq!(Segment::parse(&packet), Some(segment));
            for length in 0..packet.len() {
                assert_eq!(Segment::parse(&packet[..length]), None);
            }
            let (l4, pseudo) = match Ipv4Header::at(&packet, 0).filter(|ip| ip.version() == 4) {
                Some(ip) => {
                    assert_eq!(checksum::fold(checksum::sum(ip.as_bytes())), 0xffff);
                    (20, checksum::pseudo_header_v4(ip, 20))
                }
                None => {
                    let ip = Ipv6Header::at(&packet, 0).expect("whole");
                    (40, checksum::pseudo_header_v6(ip, TCP, 20))
                }
            };
            let sum = pseudo + checksum::sum(&packet[l4..]);
            assert_eq!(checksum::fold(sum), 0xffff);
        }
    }

    #[test]
    fn a_tunnelled_packet_is_whole_within_its_own() {
        let ends = ("10.9.0.1", "10.9.0.2");
        let ends = (
            ends.0.parse().expect("valid"),
            ends.1.parse().expect("valid"),
        );
        for (segment, protocol) in segments().into_iter().zip([IPV4_IN_IP, IPV6_IN_IP]) {
            let inner = segment.packet();
            let outer = tunnelled(ends, &inner);
            assert_eq!(outer[Ipv4Header::LEN..], inner);
            assert_eq!(outer[9], protocol);
            assert_eq!(Segment::parse(&outer), None);
        }
    }
}
