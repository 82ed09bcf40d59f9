//! Stage 6: the conn's state, the TTL, what the mode changes, the way out.
//!
//! Ends: [`DropReason::TtlExceeded`], [`DropReason::NoRoute`], and what a mode finds wrong.

use arrayvec::ArrayVec;
use lb_conn::ConnTable;
use lb_model::{
    BATCH, Batch, DropReason, Mode, NextHops, Packet, Port, Resolution, Time, Verdict, Work,
};
use lb_wire::{EthernetHeader, Ipv4Header, TcpFlags, checksum};

use crate::worker::Worker;

pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let modes_in_use = follow(&mut worker.batch, &mut worker.conns, now);
    for (id, mode) in worker.snapshot.modes().iter().enumerate() {
        if modes_in_use & 1 << id != 0 {
            rewrite(&mut worker.batch, &worker.conns, id as u8, &**mode);
        }
    }
    for packet in worker.batch.open_mut() {
        route(packet, &worker.next_hops);
    }
}

/// What all modes share before they differ; returns the modes of the batch's conns as a bit set.
fn follow(batch: &mut Batch, conns: &mut ConnTable, now: Time) -> u64 {
    let mut modes = 0;
    for packet in batch.open_mut() {
        let Some(hit) = packet.hit else { continue };
        conns.packet(hit, TcpFlags(packet.headers.tcp_flags), now);
        let (l3, l4, end) = (
            usize::from(packet.headers.l3),
            usize::from(packet.headers.l4),
            usize::from(packet.headers.end),
        );
        let frame = packet.frame.bytes_mut();
        match Ipv4Header::at_mut(frame, l3) {
            Some(ip) if ip.ttl > 1 => ip.decrement_ttl(),
            _ => {
                packet.verdict = Some(Verdict::Drop(DropReason::TtlExceeded));
                continue;
            }
        }
        checksum::complete_partial_v4(&mut frame[l3..end], l4 - l3);
        modes |= 1 << conns.conn(hit.conn).mode;
    }
    modes
}

fn rewrite(batch: &mut Batch, conns: &ConnTable, id: u8, mode: &dyn Mode) {
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
    mode.rewrite(&mut group);
}

/// Gives the packet its Ethernet header and its verdict; also for a packet that has waited for its next hop.
pub fn route(packet: &mut Packet, next_hops: &NextHops) {
    packet.verdict = Some(match next_hops.resolve(packet.route_to) {
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
