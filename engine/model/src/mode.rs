//! What a forwarding mode is: which address changes, in which direction.

use crate::{Conn, Direction, Endpoint, FlowKey, NextHops, Packet};

/// A forwarding mode: DR, NAT, FNAT, ENAT, TUN.
///
/// The engine calls it once when a conn opens and once per group of packets after that. It has seen to the TTL, the
/// conn's state and partial checksums before [`rewrite`](Mode::rewrite), and sees to the Ethernet header after it.
pub trait Mode: Send + Sync {
    /// The mode's name in the configuration and in listings.
    fn name(&self) -> &'static str;

    /// Whether a server's port may differ from the service's.
    fn maps_ports(&self) -> bool;

    /// Whether a server may be of the other address family than the service.
    fn crosses_families(&self) -> bool {
        false
    }

    /// The flow key of the outbound packets, as they will be received, of a new conn of `flow` to the server's `rip`;
    /// `None` if they do not come through us.
    fn reply(&self, flow: &FlowKey, rip: Endpoint) -> Option<FlowKey>;

    /// Source and destination of the conn's packets after this mode has rewritten them in this direction: what an ICMP
    /// error about such a packet quotes. Both ends as they came, unless the mode replaces one.
    fn endpoints(&self, conn: &Conn, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::Inbound => (conn.flow.source, conn.flow.destination),
            Direction::Outbound => (conn.flow.destination, conn.flow.source),
        }
    }

    /// Rewrites packets of this mode's conns and sets where each is routed to
    /// ([`Packet::route_to`]). A packet that cannot be rewritten gets a verdict instead. `next_hops` is for modes that
    /// send under an address of ours.
    fn rewrite(&self, group: &mut [Work<'_>], next_hops: &NextHops);
}

/// A packet and the conn it belongs to.
pub struct Work<'a> {
    /// The packet.
    pub packet: &'a mut Packet,
    /// Its conn.
    pub conn: &'a Conn,
    /// Which way it goes.
    pub direction: Direction,
}
