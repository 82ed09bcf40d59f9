//! Stage 4: the conn that a packet belongs to, unless it begins a new one in its place (kernel `ip_vs_in_hook`).
//!
//! Ends: [`PuntReason::NotOurs`], for what is neither to a service nor of a conn; [`DropReason::DestGone`].

use lb_conn::ConnTable;
use lb_model::{
    Batch, Direction, DropReason, Hit, IpvsSettings, Packet, Protocol, PuntReason, Verdict,
};
use lb_wire::TcpFlags;

pub fn run(batch: &mut Batch, conns: &ConnTable, settings: &IpvsSettings) {
    for packet in batch.open_mut() {
        packet.hit = conns.find(&packet.flow);
        match packet.hit {
            Some(hit) if hit.direction == Direction::Inbound => {
                inbound(packet, hit, conns, settings);
            }
            Some(_) => {}
            None if packet.service.is_some() => {}
            None => packet.verdict = Some(Verdict::Punt(PuntReason::NotOurs)),
        }
    }
}

#[inline]
fn inbound(packet: &mut Packet, hit: Hit, conns: &ConnTable, settings: &IpvsSettings) {
    let dest = &conns.conn(hit.conn).dest;
    let syn = packet.flow.protocol == Protocol::Tcp
        && TcpFlags(packet.headers.tcp_flags).has(TcpFlags::SYN);
    let begins_anew = syn
        && ((settings.expire_nodest_conn && dest.weight() == 0)
            || conns.expects_new(hit.conn, settings.conn_reuse_mode));
    if begins_anew || (!dest.is_available() && settings.expire_nodest_conn) {
        packet.superseded = Some(hit.conn);
        packet.hit = None;
    } else if !dest.is_available() {
        packet.verdict = Some(Verdict::Drop(DropReason::DestGone));
    }
}
