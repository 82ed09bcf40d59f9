//! What full NAT and ENAT do alike: both ends of a packet are replaced, and servers are told of their clients.

use lb_model::{Conn, Direction, Endpoint, HopCache, Protocol, Work};

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

/// Replaces both ends of packets, and tells servers of clients in this `form`.
pub fn rewrite(group: &mut [Work<'_>], form: Form, hops: &mut HopCache) {
    for Work {
        packet,
        conn,
        direction,
    } in group
    {
        let conn = *conn;
        let (source, destination) = endpoints(conn, *direction);
        packet.route_to = destination.addr;
        replace_both(packet, source, destination);
        match (direction, packet.flow.protocol) {
            (Direction::Inbound, Protocol::Tcp) => {
                tcp_option::inbound(packet, conn, form, hops);
            }
            (Direction::Outbound, Protocol::Tcp) => tcp_option::outbound(packet, conn, form),
            (Direction::Inbound, Protocol::Udp) => {
                ip_option::inbound(packet, conn, form, hops);
                proxy::inbound(packet, conn);
            }
            (Direction::Outbound, Protocol::Udp) | (_, Protocol::Sctp) => {}
        }
    }
}
