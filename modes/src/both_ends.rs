//! What full NAT and ENAT do alike: both ends of a packet are replaced, and servers are told of their clients.

use lb_model::{Conn, Direction, Endpoint, HopCache, Packet, Protocol};

use crate::tcp_option::Form;
use crate::translate::replace_both;
use crate::{ip_option, proxy, tcp_option};

/// Source and destination of a packet after that.
#[inline]
pub fn endpoints(conn: Conn<'_>, direction: Direction) -> (Endpoint, Endpoint) {
    match direction {
        Direction::Inbound => (conn.source(), conn.rip()),
        Direction::Outbound => (conn.vip(), conn.client()),
    }
}

/// Replaces both ends of a packet, and tells the server of the client in this `form`.
#[inline]
pub fn rewrite(
    packet: &mut Packet,
    conn: Conn<'_>,
    direction: Direction,
    form: Form,
    hops: &mut HopCache,
) {
    // What it says of its client comes first: bytes that were just replaced would have to be waited for before they move.
    match (direction, packet.flow.protocol) {
        (Direction::Inbound, Protocol::Tcp) => tcp_option::inbound(packet, conn, form, hops),
        (Direction::Outbound, Protocol::Tcp) => tcp_option::outbound(packet, conn, form),
        (Direction::Inbound, Protocol::Udp) => {
            ip_option::inbound(packet, conn, form, hops);
            proxy::inbound(packet, conn);
        }
        (Direction::Outbound, Protocol::Udp) | (_, Protocol::Sctp) => {}
    }
    let (source, destination) = endpoints(conn, direction);
    replace_both(packet, source, destination);
}
