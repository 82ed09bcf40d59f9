//! Frames written by hand, as a test would say them: `pkt().ipv4(CIP, VIP).tcp(4000, 80).syn()`.
//!
//! All checksums are computed from scratch here, by the plain definition, so that a test which compares bytes also
//! checks the engine's incremental ones.

use std::net::Ipv4Addr;

use lb_model::{Mac, Protocol};
use lb_wire::{ETHERTYPE_IPV4, TcpFlags};

/// A frame in the making; [`bytes`](PacketBuilder::bytes) finishes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketBuilder {
    source_mac: Mac,
    destination_mac: Mac,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    tos: u8,
    id: u16,
    flags_offset: u16,
    options: Vec<u8>,
    protocol: Protocol,
    source_port: u16,
    destination_port: u16,
    flags: u8,
    payload: Vec<u8>,
    checksum: Checksum,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Checksum {
    Full,
    Partial,
    None,
}

/// A TCP ACK between unspecified ends, to start from.
pub fn pkt() -> PacketBuilder {
    PacketBuilder {
        source_mac: Mac::default(),
        destination_mac: Mac::default(),
        source: Ipv4Addr::UNSPECIFIED,
        destination: Ipv4Addr::UNSPECIFIED,
        ttl: 64,
        tos: 0,
        id: 0x1234,
        flags_offset: 0x4000,
        options: Vec::new(),
        protocol: Protocol::Tcp,
        source_port: 0,
        destination_port: 0,
        flags: TcpFlags::ACK.0,
        payload: Vec::new(),
        checksum: Checksum::Full,
    }
}

impl PacketBuilder {
    /// Ethernet addresses.
    pub fn ethernet(mut self, source: Mac, destination: Mac) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// IPv4 addresses.
    pub fn ipv4(mut self, source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        (self.source, self.destination) = (source, destination);
        self
    }

    /// Hops left; 64 otherwise.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// IPv4 options; a multiple of four bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        assert!(
            options.len().is_multiple_of(4) && options.len() <= 40,
            "IPv4 options are whole words, ten at most"
        );
        self.options = options.to_vec();
        self
    }

    /// A fragment: its offset in units of 8 bytes, and whether more follow.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.flags_offset = offset | if more { 0x2000 } else { 0 };
        self
    }

    /// TCP between these ports.
    pub fn tcp(mut self, source: u16, destination: u16) -> Self {
        self.protocol = Protocol::Tcp;
        (self.source_port, self.destination_port) = (source, destination);
        self
    }

    /// UDP between these ports.
    pub fn udp(mut self, source: u16, destination: u16) -> Self {
        self.protocol = Protocol::Udp;
        (self.source_port, self.destination_port) = (source, destination);
        self
    }

    /// Exactly these TCP flags.
    pub fn flags(mut self, flags: TcpFlags) -> Self {
        self.flags = flags.0;
        self
    }

    /// SYN alone.
    pub fn syn(self) -> Self {
        self.flags(TcpFlags::SYN)
    }

    /// SYN and ACK.
    pub fn syn_ack(self) -> Self {
        self.flags(TcpFlags::SYN.with(TcpFlags::ACK))
    }

    /// FIN and ACK.
    pub fn fin(self) -> Self {
        self.flags(TcpFlags::FIN.with(TcpFlags::ACK))
    }

    /// RST alone.
    pub fn rst(self) -> Self {
        self.flags(TcpFlags::RST)
    }

    /// What the segment carries.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// A transport checksum that was left to a device: the pseudo-header's sum alone.
    pub fn partial_checksum(mut self) -> Self {
        self.checksum = Checksum::Partial;
        self
    }

    /// A UDP checksum of zero: none (RFC 768).
    pub fn no_checksum(mut self) -> Self {
        self.checksum = Checksum::None;
        self
    }

    /// The frame, without padding.
    pub fn bytes(&self) -> Vec<u8> {
        let segment = self.segment();
        let header_len = 20 + self.options.len();
        let mut ip = vec![0x40 | (header_len / 4) as u8, self.tos];
        ip.extend(((header_len + segment.len()) as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.flags_offset.to_be_bytes());
        ip.extend([self.ttl, self.protocol as u8, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.destination.octets());
        ip.extend(&self.options);
        let checksum = !ones_complement_sum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());

        let mut frame = Vec::new();
        frame.extend(self.destination_mac.0);
        frame.extend(self.source_mac.0);
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend(ip);
        frame.extend(segment);
        frame
    }

    fn segment(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.source_port.to_be_bytes());
        segment.extend(self.destination_port.to_be_bytes());
        let checksum_at = match self.protocol {
            Protocol::Tcp => {
                segment.extend([
                    0,
                    0,
                    0,
                    1,
                    0,
                    0,
                    0,
                    1,
                    5 << 4,
                    self.flags,
                    0xfa,
                    0xf0,
                    0,
                    0,
                    0,
                    0,
                ]);
                16
            }
            Protocol::Udp => {
                segment.extend((8 + self.payload.len() as u16).to_be_bytes());
                segment.extend([0, 0]);
                6
            }
        };
        segment.extend(&self.payload);

        let mut pseudo_header = Vec::new();
        pseudo_header.extend(self.source.octets());
        pseudo_header.extend(self.destination.octets());
        pseudo_header.extend([0, self.protocol as u8]);
        pseudo_header.extend((segment.len() as u16).to_be_bytes());
        let checksum = match self.checksum {
            Checksum::None => 0,
            Checksum::Partial => ones_complement_sum(&pseudo_header),
            Checksum::Full => {
                match !ones_complement_sum(&[&pseudo_header[..], &segment].concat()) {
                    0 if self.protocol == Protocol::Udp => 0xffff,
                    sum => sum,
                }
            }
        };
        segment[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        segment
    }
}

/// RFC 1071, word by word.
fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    #[test]
    fn what_is_built_parses_as_it_was_said() {
        let parsed = lb_wire::parse(
            &pkt()
                .ipv4(A, B)
                .tcp(4000, 80)
                .syn()
                .options(&[1; 4])
                .bytes(),
        )
        .expect("valid");
        assert_eq!(
            (parsed.source, parsed.destination),
            (A.octets(), B.octets())
        );
        assert_eq!(
            (parsed.source_port, parsed.destination_port, parsed.l4),
            (4000, 80, 38)
        );
        assert_eq!(parsed.tcp_flags, TcpFlags::SYN.0);
    }

    #[test]
    fn a_partial_checksum_completes_to_the_full_one() {
        for builder in [
            pkt().ipv4(A, B).tcp(4000, 80).payload(b"odd"),
            pkt().ipv4(A, B).udp(4000, 53).payload(b"even"),
            pkt().ipv4(A, B).udp(4000, 53),
        ] {
            let mut frame = builder.clone().partial_checksum().bytes();
            lb_wire::checksum::complete_partial_v4(&mut frame[14..], 20);
            assert_eq!(frame, builder.bytes());
            lb_wire::checksum::complete_partial_v4(&mut frame[14..], 20);
            assert_eq!(frame, builder.bytes(), "a full one is left alone");
        }
        let none = pkt().ipv4(A, B).udp(4000, 53).no_checksum().bytes();
        let mut frame = none.clone();
        lb_wire::checksum::complete_partial_v4(&mut frame[14..], 20);
        assert_eq!(frame, none);
    }
}
