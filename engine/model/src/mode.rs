//! What a forwarding mode is: which address changes, in which direction.

use zerocopy::FromZeros;

use crate::{ClientAddress, Conn, Direction, Endpoint, HopCache, Introduction, Packet, Protocol};

/// A forwarding mode: DR, NAT, FNAT, ENAT, TUN.
///
/// The engine calls it once when a conn opens and once per packet after that. It has seen to the TTL, the conn's state,
/// partial checksums and the way out before [`rewrite`](Mode::rewrite).
pub trait Mode: Send + Sync {
    /// The mode's name in the configuration and in listings.
    fn name(&self) -> &'static str;

    /// Whether a server's port may differ from the service's.
    fn maps_ports(&self) -> bool;

    /// Whether a server may be of the other address family than the service.
    fn crosses_families(&self) -> bool {
        false
    }

    /// Which way the servers' replies take.
    fn replies(&self) -> Replies;

    /// How the server of a new conn is told of its client, if it does not see it; `asked` is what the service wants.
    fn introduction(&self, _protocol: Protocol, _asked: Option<ClientAddress>) -> Introduction {
        Introduction::Nothing
    }

    /// Source and destination of the conn's packets after this mode has rewritten them in this direction: what an ICMP
    /// error about such a packet quotes. Both ends as they came, unless the mode replaces one.
    fn endpoints(&self, conn: Conn<'_>, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::Inbound => (conn.client(), conn.vip()),
            Direction::Outbound => (conn.vip(), conn.client()),
        }
    }

    /// Whether it wraps packets in what the server's [`Dest::tunnel`](crate::Dest::tunnel) says.
    fn tunnels(&self) -> bool {
        false
    }

    /// By how many bytes this mode makes the conn's packets longer in this direction.
    fn overhead(&self, _conn: Conn<'_>, _direction: Direction) -> usize {
        0
    }

    /// Rewrites a packet of one of this mode's conns, which goes in this direction. One that cannot be rewritten gets a verdict.
    /// `hops` is for modes that send under an address of ours, or make packets longer than they must be.
    fn rewrite(
        &self,
        packet: &mut Packet,
        conn: Conn<'_>,
        direction: Direction,
        hops: &mut HopCache,
    );
}

/// Which way the replies of a conn's server take, and so where they are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromZeros)]
#[repr(u8)]
pub enum Replies {
    /// To the client, past us: none is looked for (DR, TUN).
    Direct,
    /// Through us, addressed to the client (NAT).
    ToClient,
    /// Through us, addressed to a port of one of the service's local addresses, which the conn leases (FNAT).
    ToLocalAddress,
    /// To the client, past us, by a component on the server that knows for whom a port of the VIP stands, which the
    /// conn leases (ENAT). What that component does not know of comes to us.
    ByAgent,
}

impl Replies {
    /// Whether both directions of a conn pass through us.
    pub const fn pass_through_us(self) -> bool {
        matches!(self, Replies::ToClient | Replies::ToLocalAddress)
    }
}
