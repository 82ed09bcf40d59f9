//! Frames written by hand, as a test would say them: `pkt().ipv4(CIP, VIP).tcp(4000, 80).syn()`.
//!
//! All checksums are computed from scratch here, by the plain definition, so that a test which compares bytes also
//! checks the engine's incremental ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_model::{Mac, Protocol};
use lb_wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, PROTOCOL_ICMP, PROTOCOL_ICMP_V6};
use lb_wire::{PROTOCOL_IPV4, PROTOCOL_IPV6, TcpFlags};

/// A frame in the making; [`bytes`](PacketBuilder::bytes) finishes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketBuilder {
    source_mac: Mac,
    destination_mac: Mac,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    tos: u8,
    id: u16,
    flags_offset: u16,
    options: Vec<u8>,
    flow_label: u32,
    extensions: Vec<(u8, Vec<u8>)>,
    protocol: Protocol,
    source_port: u16,
    destination_port: u16,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    tcp_options: Vec<u8>,
    payload: Vec<u8>,
    checksum: Checksum,
    /// In place of a segment: a whole IP packet, and its protocol number.
    inner: Option<(u8, Vec<u8>)>,
    /// Of what the packet would carry: the part that this one does.
    part: Option<std::ops::Range<usize>>,
    /// In place of a segment: an ICMP message, but for its checksum.
    icmp: Option<Vec<u8>>,
    vlan_tags: Vec<u16>,
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
        source: Ipv4Addr::UNSPECIFIED.into(),
        destination: Ipv4Addr::UNSPECIFIED.into(),
        ttl: 64,
        tos: 0,
        id: 0x1234,
        flags_offset: 0x4000,
        options: Vec::new(),
        flow_label: 0,
        extensions: Vec::new(),
        protocol: Protocol::Tcp,
        source_port: 0,
        destination_port: 0,
        flags: TcpFlags::ACK.0,
        sequence: 1,
        acknowledgement: 1,
        tcp_options: Vec::new(),
        payload: Vec::new(),
        checksum: Checksum::Full,
        inner: None,
        part: None,
        icmp: None,
        vlan_tags: Vec::new(),
    }
}

impl PacketBuilder {
    /// Ethernet addresses.
    pub fn ethernet(mut self, source: Mac, destination: Mac) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// IPv4 addresses.
    pub fn ipv4(self, source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        self.ip(source.into(), destination.into())
    }

    /// IPv6 addresses.
    pub fn ipv6(self, source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        self.ip(source.into(), destination.into())
    }

    /// Addresses of either family.
    pub fn ip(mut self, source: IpAddr, destination: IpAddr) -> Self {
        assert_eq!(
            source.is_ipv4(),
            destination.is_ipv4(),
            "both ends are of one family"
        );
        (self.source, self.destination) = (source, destination);
        self
    }

    /// Hops left; 64 otherwise.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// DSCP and ECN.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// IPv4 identification, and whether routers must not fragment the packet; 0x1234 and so otherwise.
    pub fn id(mut self, id: u16, dont_fragment: bool) -> Self {
        (self.id, self.flags_offset) = (id, if dont_fragment { 0x4000 } else { 0 });
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

    /// A fragment: its offset in units of 8 bytes, and whether more follow. In IPv6 that is an extension header.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.source.is_ipv4() {
            self.flags_offset = offset | if more { 0x2000 } else { 0 };
            return self;
        }
        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
        self.extension(44, &[high, low, 0, 0, 0x12, 0x34])
    }

    /// The packet's fragments, each with so many bytes of its payload as are left, or `size` of them.
    pub fn split(&self, size: usize) -> Vec<Self> {
        let len = self.carried().1.len();
        let parts = (0..len).step_by(size).map(|from| {
            let to = len.min(from + size);
            let mut part = self.clone().fragment((from / 8) as u16, to < len);
            part.part = Some(from..to);
            part
        });
        parts.collect()
    }

    /// IPv6 flow label.
    pub fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label;
        self
    }

    /// One more IPv6 extension header: its number, and its bytes from the third on.
    pub fn extension(mut self, number: u8, body: &[u8]) -> Self {
        assert!(
            (body.len() + 2).is_multiple_of(8),
            "extension headers are whole units of eight bytes"
        );
        self.extensions.push((number, body.to_vec()));
        self
    }

    /// Another packet in place of a TCP or UDP segment, without its Ethernet header.
    pub fn carrying(self, inner: &PacketBuilder) -> Self {
        let protocol = if inner.source.is_ipv4() {
            PROTOCOL_IPV4
        } else {
            PROTOCOL_IPV6
        };
        self.carrying_bytes(protocol, inner.packet())
    }

    /// These bytes of this IP protocol in place of a TCP or UDP segment.
    pub fn carrying_bytes(mut self, protocol: u8, bytes: Vec<u8>) -> Self {
        self.inner = Some((protocol, bytes));
        self
    }

    /// An ICMP or ICMPv6 error in place of a segment: kind, code, the next four bytes, and what it quotes, but at most so
    /// many bytes of it.
    pub fn icmp_error(
        mut self,
        (kind, code, rest): (u8, u8, u32),
        quoted: &PacketBuilder,
        at_most: usize,
    ) -> Self {
        let mut message = vec![kind, code, 0, 0];
        message.extend(rest.to_be_bytes());
        message.extend(quoted.packet().iter().take(at_most));
        self.icmp = Some(message);
        self
    }

    /// VLAN tags, the outermost first.
    pub fn vlan(mut self, tags: &[u16]) -> Self {
        self.vlan_tags = tags.to_vec();
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

    /// TCP sequence and acknowledgement numbers; both are 1 otherwise.
    pub fn numbers(mut self, sequence: u32, acknowledgement: u32) -> Self {
        (self.sequence, self.acknowledgement) = (sequence, acknowledgement);
        self
    }

    /// TCP options; a multiple of four bytes, at most 40.
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        assert!(
            options.len().is_multiple_of(4) && options.len() <= 40,
            "TCP options come in words, up to ten"
        );
        self.tcp_options = options.to_vec();
        self
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
        let ethertype = if self.source.is_ipv4() {
            ETHERTYPE_IPV4
        } else {
            ETHERTYPE_IPV6
        };
        let mut frame = Vec::new();
        frame.extend(self.destination_mac.0);
        frame.extend(self.source_mac.0);
        for tag in &self.vlan_tags {
            frame.extend([0x81, 0x00]);
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(self.packet());
        frame
    }

    /// What the packet carries, and its protocol number.
    fn carried(&self) -> (u8, Vec<u8>) {
        match (&self.inner, &self.icmp) {
            (Some((protocol, packet)), _) => (*protocol, packet.clone()),
            (None, Some(message)) => self.message(message.clone()),
            (None, None) => (self.protocol as u8, self.segment()),
        }
    }

    fn packet(&self) -> Vec<u8> {
        let (protocol, mut segment) = self.carried();
        if let Some(part) = &self.part {
            segment = segment[part.clone()].to_vec();
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.packet_v4(source, destination, protocol, &segment)
            }
            _ => self.packet_v6(protocol, &segment),
        }
    }

    fn packet_v4(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        segment: &[u8],
    ) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let mut ip = vec![0x40 | (header_len / 4) as u8, self.tos];
        ip.extend(((header_len + segment.len()) as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.flags_offset.to_be_bytes());
        ip.extend([self.ttl, protocol, 0, 0]);
        ip.extend(source.octets());
        ip.extend(destination.octets());
        ip.extend(&self.options);
        let checksum = !ones_complement_sum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        ip.extend(segment);
        ip
    }

    fn packet_v6(&self, protocol: u8, segment: &[u8]) -> Vec<u8> {
        let numbers = self.extensions.iter().map(|(number, _)| *number);
        let mut next = numbers.chain([protocol]);
        let first = next.next().expect("the protocol at least");
        let mut payload = Vec::new();
        for ((_, body), next) in self.extensions.iter().zip(next) {
            payload.extend([next, (body.len() / 8) as u8]);
            payload.extend(body);
        }
        payload.extend(segment);
        let mut ip = (6 << 28 | u32::from(self.tos) << 20 | self.flow_label)
            .to_be_bytes()
            .to_vec();
        ip.extend((payload.len() as u16).to_be_bytes());
        ip.extend([first, self.ttl]);
        ip.extend(octets(self.source));
        ip.extend(octets(self.destination));
        ip.extend(payload);
        ip
    }

    fn message(&self, mut message: Vec<u8>) -> (u8, Vec<u8>) {
        let mut summed = message.clone();
        let protocol = if self.source.is_ipv4() {
            PROTOCOL_ICMP
        } else {
            summed.extend(vec![0; message.len() % 2]);
            summed.extend(octets(self.source));
            summed.extend(octets(self.destination));
            summed.extend((message.len() as u16).to_be_bytes());
            summed.extend([0, PROTOCOL_ICMP_V6]);
            PROTOCOL_ICMP_V6
        };
        let checksum = !ones_complement_sum(&summed);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        (protocol, message)
    }

    fn segment(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.source_port.to_be_bytes());
        segment.extend(self.destination_port.to_be_bytes());
        let checksum_at = match self.protocol {
            Protocol::Tcp => {
                segment.extend(self.sequence.to_be_bytes());
                segment.extend(self.acknowledgement.to_be_bytes());
                let words = 5 + self.tcp_options.len() as u8 / 4;
                segment.extend([words << 4, self.flags, 0xfa, 0xf0, 0, 0, 0, 0]);
                segment.extend(&self.tcp_options);
                16
            }
            Protocol::Udp => {
                segment.extend((8 + self.payload.len() as u16).to_be_bytes());
                segment.extend([0, 0]);
                6
            }
            Protocol::Sctp => unreachable!("there is no method that makes such a packet"),
        };
        segment.extend(&self.payload);

        // RFC 9293 section 3.1 and RFC 8200 section 8.1 order the rest differently, which a sum does not see.
        let mut pseudo_header = octets(self.source);
        pseudo_header.extend(octets(self.destination));
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

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// RFC 1071, word by word.
pub(crate) fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use lb_wire::IpHeader;

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
    const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

    #[test]
    fn what_is_built_parses_as_it_was_said() {
        let v4 = pkt().ipv4(A, B).options(&[1; 4]);
        let v6 = pkt()
            .ipv6(A6, B6)
            .extension(60, &[0; 6])
            .flow_label(0xf_ffff);
        for (packet, l4) in [(v4, 38), (v6, 62)] {
            let frame = packet.tcp(4000, 80).syn().bytes();
            let parsed = lb_wire::parse(&frame).expect("valid");
            match parsed.ip {
                IpHeader::V4(ip) => {
                    assert_eq!((ip.source, ip.destination), (A.octets(), B.octets()));
                }
                IpHeader::V6(ip) => {
                    assert_eq!((ip.source, ip.destination), (A6.octets(), B6.octets()));
                }
            }
            assert_eq!(
                (parsed.source_port, parsed.destination_port, parsed.l4),
                (4000, 80, l4)
            );
            assert_eq!(parsed.tcp_flags, TcpFlags::SYN.0);
        }
        let fragment = pkt().ipv6(A6, B6).fragment(185, true).bytes();
        assert_eq!(lb_wire::parse(&fragment), Err(lb_wire::Refused::Fragment));
    }

    #[test]
    fn a_partial_checksum_completes_to_the_full_one() {
        let complete = |frame: &mut Vec<u8>| {
            let protocol = lb_wire::parse(frame).expect("valid").protocol;
            if frame[14] >> 4 == 4 {
                lb_wire::checksum::complete_partial_v4(&mut frame[14..], 20);
            } else {
                lb_wire::checksum::complete_partial_v6(&mut frame[14..], 40, protocol);
            }
        };
        for ends in [pkt().ipv4(A, B), pkt().ipv6(A6, B6)] {
            for builder in [
                ends.clone().tcp(4000, 80).payload(b"odd"),
                ends.clone().udp(4000, 53).payload(b"even"),
                ends.clone().udp(4000, 53),
            ] {
                let mut frame = builder.clone().partial_checksum().bytes();
                complete(&mut frame);
                assert_eq!(frame, builder.bytes());
                complete(&mut frame);
                assert_eq!(frame, builder.bytes(), "a full one is left alone");
            }
            let none = ends.udp(4000, 53).no_checksum().bytes();
            let mut frame = none.clone();
            complete(&mut frame);
            assert_eq!(frame, none);
        }
    }

    #[test]
    fn a_carried_packet_follows_the_outer_header_as_it_is() {
        let inner = pkt().ipv6(A6, B6).udp(4000, 53);
        let outer = pkt().ipv4(A, B).carrying(&inner).bytes();
        assert_eq!(outer[14 + 20..], inner.bytes()[14..]);
        assert_eq!(outer[14 + 9], 41);
    }
}
