//! Stage 4: the conn that a packet belongs to, unless it begins a new one in its place (kernel `ip_vs_in_hook`).
//!
//! Ends: [`PuntReason::NotOurs`], for what is neither to a service nor of a conn; [`DropReason::DestGone`].

use arrayvec::ArrayVec;
use lb_conn::{ConnTable, Hash};
use lb_model::{
    BATCH, Batch, Direction, DropReason, Hit, IpvsSettings, Packet, Protocol, PuntReason, Verdict,
};
use lb_wire::TcpFlags;

pub fn run(batch: &mut Batch, conns: &ConnTable, settings: &IpvsSettings) {
    let hashes: ArrayVec<Hash, BATCH> = batch
        .open_mut()
        .map(|packet| {
            let hash = conns.hash(&packet.flow);
            conns.prefetch(hash);
            hash
        })
        .collect();
    for hash in &hashes {
        conns.prefetch_conn(*hash);
    }
    for (packet, hash) in batch.open_mut().zip(hashes) {
        packet.hit = conns.find_hashed(hash, &packet.flow);
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
