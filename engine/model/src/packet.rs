//! What the stages of a worker's turn work on.

use std::mem;

use crate::{Addr, ConnId, FlowHash, FlowKey, Frame, Hit, InterfaceId, Verdict};

/// Packets a worker handles together.
///
/// 64 is where the cost per packet of the rings and of the prefetching flattens out (DPDK's and VPP's experience too),
/// and the batch's own state still fits the first-level cache.
pub const BATCH: usize = 64;

/// Where the headers of a packet lie, from the start of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Headers {
    /// The IP header.
    pub l3: u16,
    /// What follows it: the TCP or UDP header, or once encapsulated what follows the outer IP header.
    pub l4: u16,
    /// The end of the IP packet; what follows in the frame is Ethernet padding.
    pub end: u16,
    /// The TCP flags byte (RFC 9293 section 3.1); 0 for UDP.
    pub tcp_flags: u8,
    /// Whether the packet is of IPv4, as received; what may be around it later is not meant.
    pub is_v4: bool,
}

/// What an ICMP error is about: a packet of a conn, as far as the error quotes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Related {
    /// The quoted IP header.
    pub l3: u16,
    /// The quoted TCP or UDP header, of which there are the ports, at least.
    pub l4: u16,
    /// The quoted IP header of the tunnel that carried the packet: the error is about that.
    pub tunnel: Option<u16>,
}

/// How a datagram came that was put together from fragments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reassembled {
    /// The length of the longest fragment, as an IP packet: it is not sent in longer ones.
    pub longest: u32,
    /// How much of the datagram's payload that had.
    pub part: u32,
    /// The length of the payload, as it came.
    pub payload_len: u32,
    /// Whether the fragments said that they must not be fragmented further.
    pub dont_fragment: bool,
}

/// One packet on its way through the stages.
#[derive(Debug)]
pub struct Packet {
    /// The bytes.
    pub frame: Frame,
    /// Where it came in.
    pub ingress: InterfaceId,
    /// `receive`: whether another worker handed it over, taking this one for the owner of its conn. What that found out by
    /// `parse` and `lookup` of what it holds came along.
    pub handed: bool,
    /// `parse`: where its headers are.
    pub headers: Headers,
    /// `parse`: its addresses and ports as received; of an ICMP error those that a packet of the same direction would
    /// have.
    pub flow: FlowKey,
    /// `lookup`: what its flow hashes to, of a packet whose conn was not found at once.
    pub flow_hash: Option<FlowHash>,
    /// Whether it is like nearly all packets: `parse` found nothing but its ends to look at, and `lookup` no conn whose
    /// server is gone. `rewrite` has a short way for such, if they have a conn.
    pub plain: bool,
    /// `parse`: what it is about, if it is an ICMP error.
    pub related: Option<Related>,
    /// `gather`: how it came, if that was in fragments. Its frame is the worker's then, and not the port's.
    pub reassembled: Option<Reassembled>,
    /// `classify`: the virtual service it is addressed to, by position in the snapshot; not asked for if it has a conn.
    pub service: Option<u32>,
    /// `lookup` or `schedule`: its conn.
    pub hit: Option<Hit>,
    /// `schedule`: whether it opened its conn.
    pub opened: bool,
    /// `lookup`: the conn that it would belong to if it did not begin a new one in its place.
    pub superseded: Option<ConnId>,
    /// `rewrite`: whether there was no room in it to tell the server of the client.
    pub without_client_address: bool,
    /// `rewrite`: the address whose route it takes: its conn's server or client.
    pub route_to: Addr,
    /// `rewrite`: whether an outer header leaves "don't fragment" out, whatever the packet itself says.
    pub ignore_df: bool,
    /// `rewrite`: the largest packet that its way takes, where that is less than the interface does.
    pub path_mtu: u32,
    /// `rewrite`: whether an outer header of ours is around it.
    pub encapsulated: bool,
    /// `rewrite`: it is sent in fragments of at most this length.
    pub split: Option<u32>,
    /// What its sender is told beside the reason for which it was dropped: an MTU, or the place of what is wrong.
    pub detail: u32,
    /// How it ends; no later stage touches a packet that has one.
    pub verdict: Option<Verdict>,
}

impl Packet {
    /// A packet as received, nothing known about it.
    #[inline(always)]
    pub fn received(frame: Frame, ingress: InterfaceId) -> Packet {
        Packet {
            frame,
            ingress,
            handed: false,
            headers: Headers::default(),
            flow: FlowKey::UNKNOWN,
            flow_hash: None,
            plain: false,
            related: None,
            reassembled: None,
            service: None,
            hit: None,
            opened: false,
            superseded: None,
            without_client_address: false,
            route_to: Addr::UNSPECIFIED_V4,
            ignore_df: false,
            path_mtu: u32::MAX,
            encapsulated: false,
            split: None,
            detail: 0,
            verdict: None,
        }
    }

    /// Whether `parse` found its headers.
    pub fn is_parsed(&self) -> bool {
        self.headers.end > 0
    }

    /// The length of the IP packet.
    #[inline(always)]
    pub fn ip_len(&self) -> u32 {
        u32::from(self.headers.end - self.headers.l3)
    }

    /// Whether it is of IPv4, as received.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.headers.is_v4
    }

    /// The packet; what stays in its place has no frame, and is for nobody to use.
    pub fn take(&mut self) -> Packet {
        let nothing = Packet::received(self.frame.take(), self.ingress);
        let mut packet = mem::replace(self, nothing);
        mem::swap(&mut packet.frame, &mut self.frame);
        packet
    }

    /// Whether its end is still open.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.verdict.is_none()
    }
}

/// Up to [`BATCH`] packets, in the order in which they were received.
#[derive(Debug)]
pub struct Batch {
    packets: Vec<Packet>,
}

impl Batch {
    /// An empty batch; its memory is allocated here, once.
    pub fn new() -> Batch {
        Batch {
            packets: Vec::with_capacity(BATCH),
        }
    }

    /// How many more packets it takes.
    #[inline]
    pub fn room(&self) -> usize {
        BATCH - self.packets.len()
    }

    /// Adds a received packet. Panics when there is no [`room`](Batch::room).
    #[inline(always)]
    pub fn push(&mut self, frame: Frame, ingress: InterfaceId) {
        assert!(self.room() > 0, "a port asks for room first");
        self.packets.push(Packet::received(frame, ingress));
    }

    /// Adds a packet that another worker handed over. Panics when there is no [`room`](Batch::room).
    #[inline(always)]
    pub fn push_handed(&mut self, packet: Packet) {
        assert!(self.room() > 0, "a worker asks for room first");
        self.packets.push(packet);
    }

    /// Whether it holds no packet.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many packets it holds.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packets.
    #[inline]
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// The packets, to be worked on.
    #[inline]
    pub fn packets_mut(&mut self) -> &mut [Packet] {
        &mut self.packets
    }

    /// The packets whose end is still open.
    #[inline]
    pub fn open_mut(&mut self) -> impl Iterator<Item = &mut Packet> {
        self.packets.iter_mut().filter(|p| p.is_open())
    }

    /// Forgets all packets, whose frames were [taken](Frame::take).
    #[inline]
    pub fn clear(&mut self) {
        self.packets.clear();
    }

    /// Takes all packets out, in order.
    #[inline]
    pub fn drain(&mut self) -> impl Iterator<Item = Packet> {
        self.packets.drain(..)
    }
}

impl Default for Batch {
    /// A stand-in without memory, for a batch that is elsewhere for a moment.
    fn default() -> Batch {
        Batch {
            packets: Vec::new(),
        }
    }
}
