//! What full NAT and ENAT do alike: both ends of a packet are replaced, and servers are told of their clients.

use lb_model::{Conn, Direction, End, Endpoint, HopCache, Packet, Protocol};

use crate::tcp_option::Form;
use crate::translate::replace;
use crate::{ip_option, proxy, tcp_option};

/// Source and destination of a packet after that.
#[inline(always)]
fn ends(direction: Direction) -> (End, End) {
    match direction {
        Direction::Inbound => (End::Source, End::Rip),
        Direction::Outbound => (End::Vip, End::Client),
    }
}

/// The same, as addresses and ports.
pub fn endpoints(conn: Conn<'_>, direction: Direction) -> (Endpoint, Endpoint) {
    let (source, destination) = ends(direction);
    (conn.end(source), conn.end(destination))
}

/// Replaces both ends of a packet, and tells the server of the client in this `form`.
#[inline(always)]
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
    let (source, destination) = ends(direction);
    replace(packet, conn, Some(source), Some(destination));
}
