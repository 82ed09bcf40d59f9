//! Tunnelling (ipvsadm `-i`): the packet goes to the server untouched, inside another IP packet; what is between the two
//! IP headers is the server's [`Tunnel`](lb_model::Tunnel).
//!
//! ```text
//!  client                  balancer                         server (VIP on lo, decapsulates)
//!    | CIP:cport > VIP:vport  |                                |
//!    | ---------------------> | DIP > RIP [                    |
//!    |                        |   CIP:cport > VIP:vport ]      |
//!    |                        | -----------------------------> |
//!    | VIP:vport > CIP:cport                                   |
//!    | <------------------------------------------------------ |
//! ```
//!
//! The server may be anywhere that IP reaches, and of the other address family: IPv4 and IPv6 are carried by either.
//! Replies do not pass through us, and ports cannot be mapped.

mod outer;

use lb_model::{
    Addr, Conn, Direction, DropReason, HopCache, Mode, Packet, Replies, Resolution, Tunnel, Verdict,
};

use lb_wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4Header, Ipv6Header};
use zerocopy::IntoBytes;

use self::outer::{Inner, Wrapping};

/// The `tun` mode.
pub struct Tunnelling;

impl Mode for Tunnelling {
    fn name(&self) -> &'static str {
        "tun"
    }

    fn maps_ports(&self) -> bool {
        false
    }

    fn crosses_families(&self) -> bool {
        true
    }

    fn replies(&self) -> Replies {
        Replies::Direct
    }

    fn tunnels(&self) -> bool {
        true
    }

    fn overhead(&self, conn: Conn<'_>, _direction: Direction) -> usize {
        conn.dest().tunnel().overhead(conn.rip().addr.is_v4())
    }

    fn rewrite(
        &self,
        packet: &mut Packet,
        conn: Conn<'_>,
        _direction: Direction,
        hops: &mut HopCache,
    ) {
        let rip = conn.rip().addr;
        let done = match hops.source_for(rip) {
            Some(dip) => encapsulate(packet, conn.dest().tunnel(), dip, rip),
            None if hops.resolve(rip) == Resolution::Unreachable => Err(DropReason::NoRoute),
            None => Err(DropReason::NoSource),
        };
        if let Err(reason) = done {
            packet.verdict = Some(Verdict::Drop(reason));
        }
    }
}

fn encapsulate(
    packet: &mut Packet,
    tunnel: Tunnel,
    dip: Addr,
    rip: Addr,
) -> Result<(), DropReason> {
    let inner = Inner::read(packet).ok_or(DropReason::Malformed)?;
    // A header alone is copied in a few moves, as its length is known.
    match (tunnel, dip.as_v4(), rip.as_v4()) {
        (Tunnel::Ipip, Some(dip), Some(rip)) => {
            let ip = outer::bare_v4(&inner, dip, rip);
            prepend(packet, ip.as_bytes(), Ipv4Header::LEN, ETHERTYPE_IPV4)
        }
        (Tunnel::Ipip, ..) => {
            let ip = outer::bare_v6(&inner, dip, rip);
            prepend(packet, ip.as_bytes(), Ipv6Header::LEN, ETHERTYPE_IPV6)
        }
        _ => {
            let wrapping = Wrapping::new(&inner, tunnel, dip, rip);
            let ip_len = wrapping.ip_len();
            prepend(packet, wrapping.bytes(), ip_len, wrapping.ethertype())
        }
    }
}

/// Puts the outer headers between the Ethernet header and the IP packet: where there is room before the frame the one moves
/// up, otherwise the other moves down.
#[inline(always)]
fn prepend(
    packet: &mut Packet,
    outer: &[u8],
    ip_len: usize,
    ethertype: u16,
) -> Result<(), DropReason> {
    let (l3, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.end),
    );
    let (inner_at, new_end) = (l3 + outer.len(), end + outer.len());
    if packet.frame.grow_front(outer.len()) {
        let moved = outer.len()..inner_at;
        packet.frame.bytes_mut().copy_within(moved, 0);
    } else if packet.frame.resize(new_end) {
        packet.frame.bytes_mut().copy_within(l3..end, inner_at);
    } else {
        return Err(DropReason::TooBig);
    }
    let frame = packet.frame.bytes_mut();
    frame[l3..inner_at].copy_from_slice(outer);
    // The two bytes before the IP header are the ethertype, whatever tags came before them.
    frame[l3 - 2..l3].copy_from_slice(&ethertype.to_be_bytes());
    packet.headers.l4 = (l3 + ip_len) as u16;
    packet.headers.end = new_end as u16;
    Ok(())
}
