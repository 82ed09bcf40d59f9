//! Stage 6: the conn's state, the TTL, what the mode changes, the way out.
//!
//! Ends: [`DropReason::TtlExceeded`], [`DropReason::NoRoute`], [`DropReason::TooBig`], and what a mode finds wrong.

use arrayvec::ArrayVec;
use lb_conn::ConnTable;
use lb_model::{
    BATCH, Batch, DropReason, HopCache, Mode, Packet, Port, Resolution, Time, Verdict, Work,
};
use lb_wire::{EthernetHeader, Ipv4Header, Ipv6Header, TcpFlags, checksum};

use crate::worker::Worker;

pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let modes_in_use = follow(&mut worker.batch, &mut worker.conns, now);
    for (id, mode) in worker.snapshot.modes().iter().enumerate() {
        if modes_in_use & 1 << id != 0 {
            let (conns, hops) = (&worker.conns, &mut worker.hops);
            rewrite(&mut worker.batch, conns, id as u8, &**mode, hops);
        }
    }
    for packet in worker.batch.open_mut() {
        let way = worker.hops.resolve(packet.route_to);
        route(packet, way);
    }
}

/// What all modes share before they differ; returns the modes of the batch's conns as a bit set.
fn follow(batch: &mut Batch, conns: &mut ConnTable, now: Time) -> u64 {
    let mut modes = 0;
    for packet in batch.open_mut() {
        let Some(hit) = packet.hit else { continue };
        conns.packet(hit, TcpFlags(packet.headers.tcp_flags), now);
        match take_hop(packet) {
            Some(()) => {
                trim(packet);
                complete_checksum(packet);
            }
            None => {
                packet.verdict = Some(Verdict::Drop(DropReason::TtlExceeded));
                continue;
            }
        }
        modes |= 1 << conns.conn(hit.conn).mode;
    }
    modes
}

/// `None` if there is no hop left to take.
fn take_hop(packet: &mut Packet) -> Option<()> {
    let l3 = usize::from(packet.headers.l3);
    let frame = packet.frame.bytes_mut();
    if packet.flow.source.addr.is_v4() {
        let ip = Ipv4Header::at_mut(frame, l3).filter(|ip| ip.ttl > 1)?;
        ip.decrement_ttl();
    } else {
        let ip = Ipv6Header::at_mut(frame, l3).filter(|ip| ip.hop_limit > 1)?;
        ip.hop_limit -= 1;
    }
    Some(())
}

/// Ethernet padding is not the packet's. The kernel does not forward it either; a link that needs some adds its own.
fn trim(packet: &mut Packet) {
    let shrunk = packet.frame.resize(usize::from(packet.headers.end));
    debug_assert!(shrunk, "the parser found the packet within the frame");
}

/// Adds what a sender left to a device to a parsed packet's checksum.
pub fn complete_checksum(packet: &mut Packet) {
    let (l3, l4, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
        usize::from(packet.headers.end),
    );
    let bytes = &mut packet.frame.bytes_mut()[l3..end];
    if packet.flow.source.addr.is_v4() {
        checksum::complete_partial_v4(bytes, l4 - l3);
    } else {
        checksum::complete_partial_v6(bytes, l4 - l3, packet.flow.protocol as u8);
    }
}

fn rewrite(batch: &mut Batch, conns: &ConnTable, id: u8, mode: &dyn Mode, hops: &mut HopCache) {
    let mut group: ArrayVec<Work<'_>, BATCH> = batch
        .open_mut()
        .filter_map(|packet| {
            let hit = packet.hit?;
            let conn = conns.conn(hit.conn);
            (conn.mode == id).then_some(Work {
                packet,
                conn,
                direction: hit.direction,
            })
        })
        .collect();
    mode.rewrite(&mut group, hops);
}

/// Gives the packet its Ethernet header and its verdict; also for a packet that has waited for its next hop.
pub fn route(packet: &mut Packet, way: Resolution) {
    let len = u32::from(packet.headers.end - packet.headers.l3);
    packet.verdict = Some(match way {
        Resolution::Reachable(hop) if len > hop.mtu => Verdict::Drop(DropReason::TooBig),
        Resolution::Reachable(hop) => match EthernetHeader::of_mut(packet.frame.bytes_mut()) {
            Some(ethernet) => {
                ethernet.destination = hop.destination.0;
                ethernet.source = hop.source.0;
                Verdict::Tx(hop.egress)
            }
            None => Verdict::Drop(DropReason::Malformed),
        },
        Resolution::Unresolved { .. } => Verdict::Hold,
        Resolution::Unreachable => Verdict::Drop(DropReason::NoRoute),
    });
}
