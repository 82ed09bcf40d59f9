//! The headers around a tunnelled packet, as IPVS makes them.
//!
//! The outer IP header (kernel `ip_vs_prepare_tunneled_skb`): TTL, DSCP and "don't fragment" are the inner packet's; so is
//! ECN, but "congestion experienced" goes out as ECT(0) and is left to the inner header to say. Between it and the packet
//! stands what the server's tunnel asks for (`ipvs_gue_encap`, `ipvs_gre_encap`).

use lb_model::{Addr, FlowKey, Packet, Protocol, Tunnel, TunnelChecksum};
use lb_wire::checksum::{fold, pseudo_header_v4, pseudo_header_v6, sum};
use lb_wire::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, GreHeader, GueHeader, Ipv4Header, Ipv6Header, PROTOCOL_GRE,
    PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP, TcpHeader, UdpHeader,
};
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

/// What the outer headers take over from the packet inside.
pub struct Inner<'a> {
    bytes: &'a [u8],
    flow: &'a FlowKey,
    is_v4: bool,
    /// DSCP and ECN.
    class: u8,
    hops: u8,
    /// Of a packet that may be fragmented: what tells it from others of its sender, as far as one word can.
    id: Option<u16>,
}

impl Inner<'_> {
    /// `None` if the frame does not hold the headers that the parser found in it.
    #[inline(always)]
    pub fn read(packet: &Packet) -> Option<Inner<'_>> {
        let (l3, end) = (
            usize::from(packet.headers.l3),
            usize::from(packet.headers.end),
        );
        let bytes = packet.frame.bytes().get(l3..end)?;
        let (flow, is_v4) = (&packet.flow, packet.is_v4());
        Some(if is_v4 {
            let ip = Ipv4Header::at(bytes, 0)?;
            let id = if packet.ignore_df || !ip.dont_fragment() {
                Some(fold(u64::from(checksum(packet)?) + u64::from(ip.id.get())))
            } else {
                None
            };
            Inner {
                bytes,
                flow,
                is_v4,
                class: ip.tos,
                hops: ip.ttl,
                id,
            }
        } else {
            let ip = Ipv6Header::at(bytes, 0)?;
            // Its sender takes a "packet too big" that tells of no less than what every link carries of IPv6. What is
            // no longer than that must get through all the same (RFC 4213 section 3.2.2).
            let may_be_fragmented =
                packet.ignore_df || packet.reassembled.is_some() || bytes.len() <= LEAST_MTU_V6;
            let id = if may_be_fragmented {
                Some(checksum(packet)?)
            } else {
                None
            };
            Inner {
                bytes,
                flow,
                is_v4,
                class: ip.traffic_class(),
                hops: ip.hop_limit,
                id,
            }
        })
    }

    fn protocol(&self) -> u8 {
        match self.is_v4 {
            true => PROTOCOL_IPV4,
            false => PROTOCOL_IPV6,
        }
    }

    fn ethertype(&self) -> u16 {
        match self.is_v4 {
            true => ETHERTYPE_IPV4,
            false => ETHERTYPE_IPV6,
        }
    }
}

/// Of the transport header.
fn checksum(packet: &Packet) -> Option<u16> {
    let (frame, l4) = (packet.frame.bytes(), usize::from(packet.headers.l4));
    let checksum = match packet.flow.protocol {
        Protocol::Tcp => TcpHeader::at(frame, l4)?.checksum,
        Protocol::Udp => UdpHeader::at(frame, l4)?.checksum,
        // Not parsed, and so never here.
        Protocol::Sctp => return None,
    };
    Some(checksum.get())
}

/// The header around `inner` if there is nothing between the two, over IPv4.
#[inline]
pub fn bare_v4(inner: &Inner<'_>, dip: [u8; 4], rip: [u8; 4]) -> Ipv4Header {
    outer_v4(inner, inner.protocol(), dip, rip, inner.bytes.len())
}

/// The header around `inner` if there is nothing between the two, over IPv6.
#[inline]
pub fn bare_v6(inner: &Inner<'_>, dip: Addr, rip: Addr) -> Ipv6Header {
    outer_v6(inner, inner.protocol(), dip, rip, inner.bytes.len())
}

/// Every link carries this much of IPv6 (RFC 8200 section 5).
const LEAST_MTU_V6: usize = 1280;

/// An IPv6 header, a UDP and a GUE header.
const LONGEST: usize = Ipv6Header::LEN + UdpHeader::LEN + GueHeader::LEN;

/// The headers to be put in front of a packet.
pub struct Wrapping {
    ethertype: u16,
    ip_len: usize,
    bytes: [u8; LONGEST],
    len: usize,
}

impl Wrapping {
    /// The headers around `inner` from `dip` to `rip`, which are of one family.
    pub fn new(inner: &Inner<'_>, tunnel: Tunnel, dip: Addr, rip: Addr) -> Wrapping {
        let mut wrapping = Wrapping {
            ethertype: ETHERTYPE_IPV4,
            ip_len: 0,
            bytes: [0; LONGEST],
            len: 0,
        };
        // The sums of a checksum go in pairs of bytes: every header is of even length, as are all sums but the last.
        let between = tunnel.overhead(true) - Ipv4Header::LEN;
        let len = between + inner.bytes.len();
        let protocol = match tunnel {
            Tunnel::Ipip => inner.protocol(),
            Tunnel::Gue { .. } => PROTOCOL_UDP,
            Tunnel::Gre { .. } => PROTOCOL_GRE,
        };
        let pseudo_header = match (dip.as_v4(), rip.as_v4()) {
            (Some(dip), Some(rip)) => {
                let ip = outer_v4(inner, protocol, dip, rip, len);
                wrapping.push(ip.as_bytes());
                pseudo_header_v4(&ip, len as u16)
            }
            _ => {
                let ip = outer_v6(inner, protocol, dip, rip, len);
                wrapping.ethertype = ETHERTYPE_IPV6;
                wrapping.push(ip.as_bytes());
                pseudo_header_v6(&ip, protocol, len as u16)
            }
        };
        wrapping.ip_len = wrapping.len;
        match tunnel {
            Tunnel::Ipip => {}
            Tunnel::Gue { port, checksum } => {
                wrapping.push_gue(inner, port, checksum, len, pseudo_header);
            }
            Tunnel::Gre { checksum } => wrapping.push_gre(inner, checksum),
        }
        wrapping
    }

    /// All of them, from the outer IP header on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The length of the outer IP header.
    pub fn ip_len(&self) -> usize {
        self.ip_len
    }

    /// Of the outer IP header.
    pub fn ethertype(&self) -> u16 {
        self.ethertype
    }

    fn push(&mut self, header: &[u8]) {
        self.bytes[self.len..][..header.len()].copy_from_slice(header);
        self.len += header.len();
    }

    fn push_gue(
        &mut self,
        inner: &Inner<'_>,
        port: u16,
        checksum: TunnelChecksum,
        len: usize,
        pseudo_header: u64,
    ) {
        let gue = GueHeader {
            version_control_len: 0,
            protocol: inner.protocol(),
            flags: U16::ZERO,
        };
        let mut udp = UdpHeader {
            source: U16::new(source_port(inner.flow)),
            destination: U16::new(port),
            len: U16::new(len as u16),
            checksum: U16::ZERO,
        };
        // By remote checksum offload the kernel hands on what a sender left to a device (CHECKSUM_PARTIAL), and sends a
        // plain checksum otherwise. Here the inner checksum was completed before, so it is always the latter.
        if checksum != TunnelChecksum::Absent {
            let sums = pseudo_header + sum(udp.as_bytes()) + sum(gue.as_bytes()) + sum(inner.bytes);
            udp.checksum = U16::new(match !fold(sums) {
                0 => u16::MAX,
                checksum => checksum,
            });
        }
        self.push(udp.as_bytes());
        self.push(gue.as_bytes());
    }

    fn push_gre(&mut self, inner: &Inner<'_>, checksum: TunnelChecksum) {
        let mut gre = GreHeader {
            flags_version: U16::ZERO,
            protocol: U16::new(inner.ethertype()),
        };
        if checksum != TunnelChecksum::Present {
            return self.push(gre.as_bytes());
        }
        gre.flags_version = U16::new(GreHeader::CHECKSUM);
        let checksum = !fold(sum(gre.as_bytes()) + sum(inner.bytes));
        self.push(gre.as_bytes());
        self.push(&checksum.to_be_bytes());
        self.push(&[0, 0]);
    }
}

fn outer_v4(
    inner: &Inner<'_>,
    protocol: u8,
    dip: [u8; 4],
    rip: [u8; 4],
    payload_len: usize,
) -> Ipv4Header {
    // An id matters where routers may fragment, and then must not come again soon (RFC 6864 section 4.3). A counter
    // would be one more thing for workers to share; the inner packet's own checksum and id differ as well as any.
    let (id, flags_offset) = match inner.id {
        Some(id) => (id, 0),
        None => (0, Ipv4Header::DONT_FRAGMENT),
    };
    let mut header = Ipv4Header {
        version_ihl: 0x45,
        tos: outer_class(inner.class),
        total_len: U16::new((Ipv4Header::LEN + payload_len) as u16),
        id: U16::new(id),
        flags_offset: U16::new(flags_offset),
        ttl: inner.hops,
        protocol,
        checksum: U16::ZERO,
        source: dip,
        destination: rip,
    };
    header.compute_checksum();
    header
}

fn outer_v6(
    inner: &Inner<'_>,
    protocol: u8,
    dip: Addr,
    rip: Addr,
    payload_len: usize,
) -> Ipv6Header {
    Ipv6Header {
        version_class_flow: U32::new(6 << 28 | u32::from(outer_class(inner.class)) << 20),
        payload_len: U16::new(payload_len as u16),
        next_header: protocol,
        hop_limit: inner.hops,
        source: *dip.octets(),
        destination: *rip.octets(),
    }
}

const ECN: u8 = 0b11;
const ECN_CE: u8 = 0b11;
const ECN_ECT_0: u8 = 0b10;

fn outer_class(inner: u8) -> u8 {
    if inner & ECN == ECN_CE {
        inner & !ECN | ECN_ECT_0
    } else {
        inner
    }
}

/// The default of `net.ipv4.ip_local_port_range`, from which the kernel takes it (`udp_flow_src_port`).
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

/// The outer UDP source port: the same for all packets of a flow, others for others, so that routers and the queues of a
/// server's device spread flows as they would untunnelled ones.
fn source_port(flow: &FlowKey) -> u16 {
    let bits = |addr: Addr| u128::from_be_bytes(*addr.octets());
    let folded = bits(flow.source.addr) ^ bits(flow.destination.addr).rotate_left(64);
    let ports = u64::from(flow.source.port) << 32 | u64::from(flow.destination.port);
    // The finalizer of SplitMix64: one changed bit changes every other with even odds.
    let mut hash = (folded as u64) ^ ((folded >> 64) as u64).rotate_left(17) ^ ports;
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let ports = u64::from(LAST_PORT - FIRST_PORT) + 1;
    FIRST_PORT + (((hash >> 32) * ports) >> 32) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::Endpoint;

    #[test]
    fn only_congestion_experienced_is_left_to_the_inner_header() {
        for (inner, outer) in [(0, 0), (0xb8, 0xb8), (1, 1), (2, 2), (3, 2), (0xff, 0xfe)] {
            assert_eq!(outer_class(inner), outer);
        }
    }

    #[test]
    fn flows_spread_over_the_source_ports() {
        let vip: Endpoint = "10.0.0.100:80".parse().expect("valid");
        let mut seen = std::collections::BTreeSet::new();
        for client in 0..2000u16 {
            let flow = FlowKey {
                source: Endpoint::new(Addr::v4([192, 0, 2, client as u8]), 1024 + client),
                destination: vip,
                protocol: Protocol::Tcp,
            };
            let port = source_port(&flow);
            assert!((FIRST_PORT..=LAST_PORT).contains(&port));
            assert_eq!(port, source_port(&flow));
            seen.insert(port);
        }
        // 2000 draws of 28 232: some 1930 differ.
        assert!(seen.len() > 1880, "{}", seen.len());
    }
}
