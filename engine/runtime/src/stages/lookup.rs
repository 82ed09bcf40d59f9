//! Stage 4: the conn that a packet belongs to, unless it begins a new one in its place (kernel `ip_vs_in_hook`).
//!
//! Ends: [`PuntReason::NotOurs`], for what is neither to a service nor of a conn; [`DropReason::DestGone`],
//! [`DropReason::UnknownReply`], [`DropReason::BadOption`], [`DropReason::SourceRoute`]; and [`Verdict::Hand`], for what
//! another worker has the conn of.

use lb_conn::ConnTable;
use lb_model::{
    Batch, Direction, DropReason, Hit, IpvsSettings, Packet, Protocol, PuntReason, Verdict,
};
use lb_wire::TcpFlags;

use super::rewrite::take_hop;
use super::{options, parse};
use crate::snapshot::Snapshot;

pub fn run(batch: &mut Batch, conns: &ConnTable, snapshot: &Snapshot) {
    let settings = snapshot.settings();
    for packet in batch.open_mut() {
        packet.hit = conns.find(&packet.flow);
        match packet.hit {
            None if let Some(owner) = elsewhere(packet, conns) => {
                packet.verdict = Some(Verdict::Hand(owner));
                continue;
            }
            _ if packet.related.is_some() => related(packet, conns, snapshot),
            Some(hit) if hit.direction == Direction::Inbound => {
                inbound(packet, hit, conns, settings);
            }
            Some(_) => {}
            None if packet.service.is_some() => {}
            None => packet.verdict = Some(stranger(packet, snapshot)),
        }
        if options::has(packet) && packet.is_open() {
            packet.verdict = options::refuse(packet);
        }
    }
}

/// Which other worker has the packet's conn, unless it was one that took this one for that.
fn elsewhere(packet: &Packet, conns: &ConnTable) -> Option<u16> {
    if packet.handed {
        return None;
    }
    conns.owner(&packet.flow)
}

#[inline]
fn inbound(packet: &mut Packet, hit: Hit, conns: &ConnTable, settings: &IpvsSettings) {
    let dest = conns.conn(hit.conn).dest();
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

/// An ICMP error never opens a conn. One about a UDP packet of none may be about what that carried.
fn related(packet: &mut Packet, conns: &ConnTable, snapshot: &Snapshot) {
    if packet.hit.is_none() && parse::look_into_gue(packet) {
        packet.service = snapshot.service_for(&packet.flow);
        packet.hit = conns.find(&packet.flow);
    }
    if packet.hit.is_none() {
        packet.verdict = Some(match elsewhere(packet, conns) {
            Some(owner) => Verdict::Hand(owner),
            None => Verdict::Punt(PuntReason::NotOurs),
        });
    }
}

/// Neither to a service nor of a conn.
fn stranger(packet: &mut Packet, snapshot: &Snapshot) -> Verdict {
    let is_reset = packet.flow.protocol == Protocol::Tcp
        && TcpFlags(packet.headers.tcp_flags).has(TcpFlags::RST);
    if snapshot.settings().nat_icmp_send
        && !is_reset
        && snapshot.is_replying(&packet.flow)
        // As where the kernel forwards: the hop was counted before IPVS had a look.
        && take_hop(packet).is_some()
    {
        Verdict::Drop(DropReason::UnknownReply)
    } else {
        Verdict::Punt(PuntReason::NotOurs)
    }
}
