//! Stage 7: every packet to where its verdict says, and its counter.
//!
//! Ends: [`DropReason::TxRingFull`], [`DropReason::PuntFailed`], [`DropReason::NeighbourQueueFull`],
//! [`DropReason::NeighbourUnresolved`], [`DropReason::NoFrame`], [`DropReason::OwnerBusy`].

use lb_model::{
    DropReason, Frame, InterfaceId, Packet, Port, PuntReason, Resolution, Time, Verdict,
};

use super::pieces;
use super::rewrite::complete_checksum;
use super::route::route;
use crate::answer::{self, Message, turn_round};
use crate::counters::Counter;
use crate::crew::Busy;
use crate::held::{Holding, NextHop};
use crate::worker::Worker;

/// The batch, then whatever the port has queued.
pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let mut batch = std::mem::take(&mut worker.batch);
    let (mut sent, mut bytes, mut to_hand) = (0, 0, 0);
    for (position, packet) in batch.packets_mut().iter_mut().enumerate() {
        match packet.verdict {
            Some(Verdict::Tx(egress)) if packet.split.is_none() => {
                let frame = packet.frame.take();
                let len = frame.len() as u64;
                match worker.port.transmit(egress, frame) {
                    Ok(()) => (sent, bytes) = (sent + 1, bytes + len),
                    Err(frame) => drop_frame(worker, frame, DropReason::TxRingFull),
                }
            }
            Some(Verdict::Hand(owner)) => match worker.crew.note(owner, position) {
                Ok(()) => to_hand += 1,
                Err(Busy) => drop_packet(worker, packet.take(), DropReason::OwnerBusy),
            },
            _ => end(worker, packet.take(), now),
        }
    }
    worker.counters.count(Counter::Tx, sent);
    worker.counters.count(Counter::TxBytes, bytes);
    if to_hand > 0 {
        let (port, fragments) = (&mut worker.port, &mut worker.fragments);
        let handed = worker.crew.hand(batch.packets_mut(), port, fragments);
        worker.counters.count(Counter::HandedOver, handed as u64);
    }
    batch.clear();
    worker.batch = batch;
    worker.port.flush();
}

/// Packets that waited for their next hop and need not wait longer; before any packet that came after them.
pub fn released<P: Port>(worker: &mut Worker<P>, now: Time) {
    for packet in worker.held.release(now, worker.hops.next_hops()) {
        end(worker, packet, now);
    }
}

/// Packets that still wait at the end of the worker's life, and those that others handed over since its last turn.
pub fn give_up<P: Port>(worker: &mut Worker<P>) {
    for packet in worker.held.take() {
        drop_packet(worker, packet, DropReason::NeighbourUnresolved);
    }
    let mut batch = std::mem::take(&mut worker.batch);
    loop {
        let (port, fragments) = (&mut worker.port, &mut worker.fragments);
        let taken = worker.crew.clear(&mut batch, port, fragments);
        if taken == 0 {
            break;
        }
        worker.counters.count(Counter::TakenOver, taken as u64);
        for packet in batch.drain() {
            drop_packet(worker, packet, DropReason::OwnerBusy);
        }
    }
    worker.port.flush();
}

#[inline(never)]
fn end<P: Port>(worker: &mut Worker<P>, mut packet: Packet, now: Time) {
    // Every stage before this one leaves a packet open only for the next to end it, and `rewrite` ends the rest.
    debug_assert!(
        !packet.is_open(),
        "a packet reached transmit without a verdict: {packet:?}"
    );
    match packet.verdict.unwrap_or(Verdict::Punt(PuntReason::NotOurs)) {
        Verdict::Tx(egress) => match packet.split {
            None => send(worker, egress, packet.frame),
            Some(mtu) => in_pieces(worker, packet, mtu, |worker, frame| {
                send(worker, egress, frame);
            }),
        },
        Verdict::Punt(reason) => {
            if packet.is_parsed() && packet.related.is_none() {
                // The way back to the kernel has no means to say that a checksum is not complete.
                complete_checksum(&mut packet);
            }
            let ingress = packet.ingress;
            match packet.reassembled {
                None => punt(worker, ingress, packet.frame, reason),
                Some(came) => in_pieces(worker, packet, came.longest, |worker, frame| {
                    punt(worker, ingress, frame, reason);
                }),
            }
        }
        Verdict::Drop(reason) => match answer::about(&packet, reason) {
            None => drop_packet(worker, packet, reason),
            Some(message) => {
                worker.counters.count(Counter::Drop(reason), 1);
                tell_sender(worker, packet, message, now);
            }
        },
        Verdict::Join => worker.port.release(packet.frame),
        // Only a packet of the batch gets this verdict, and `run` hands them over together.
        Verdict::Hand(_) => drop_packet(worker, packet, DropReason::OwnerBusy),
        Verdict::Hold => hold(worker, packet, now),
    }
}

fn send<P: Port>(worker: &mut Worker<P>, egress: InterfaceId, frame: Frame) {
    let bytes = frame.len() as u64;
    match worker.port.transmit(egress, frame) {
        Ok(()) => {
            worker.counters.count(Counter::Tx, 1);
            worker.counters.count(Counter::TxBytes, bytes);
        }
        Err(frame) => drop_frame(worker, frame, DropReason::TxRingFull),
    }
}

fn punt<P: Port>(worker: &mut Worker<P>, ingress: InterfaceId, frame: Frame, reason: PuntReason) {
    match worker.port.punt(ingress, frame) {
        Ok(()) => worker.counters.count(Counter::Punt(reason), 1),
        Err(frame) => drop_frame(worker, frame, DropReason::PuntFailed),
    }
}

/// Ends the packet as the fragments that it is taken apart into.
#[cold]
fn in_pieces<P: Port>(
    worker: &mut Worker<P>,
    packet: Packet,
    mtu: u32,
    end: impl Fn(&mut Worker<P>, Frame),
) {
    if let Err(reason) = pieces::cut(worker, &packet, mtu) {
        return drop_packet(worker, packet, reason);
    }
    release(worker, packet);
    let mut pieces = std::mem::take(&mut worker.pieces);
    let more = pieces.len().saturating_sub(1);
    worker.counters.count(Counter::Split, more as u64);
    for frame in pieces.drain(..) {
        end(worker, frame);
    }
    worker.pieces = pieces;
}

/// Sends the packet, which has ended and was counted, back as an ICMP error.
#[cold]
fn tell_sender<P: Port>(worker: &mut Worker<P>, mut packet: Packet, message: Message, now: Time) {
    let settings = worker.snapshot.settings();
    let (per_second, burst) = (settings.icmp_msgs_per_sec, settings.icmp_msgs_burst);
    if !worker.limiter.allows(now, per_second, burst) {
        worker.counters.count(Counter::IcmpLimited, 1);
        return release(worker, packet);
    }
    let source = answer::source(&packet, &mut worker.hops);
    let quote = packet.headers.l3.into()..packet.headers.end.into();
    let turned = source.is_some_and(|source| turn_round(&mut packet, source, quote, message));
    if !turned {
        return release(worker, packet);
    }
    worker.counters.count(Counter::IcmpSent, 1);
    packet.path_mtu = u32::MAX;
    if let Some(came) = &mut packet.reassembled {
        (came.longest, came.part) = (u32::MAX, 0);
    }
    let way = worker.hops.resolve(packet.route_to);
    route(&mut packet, way);
    // Neither a drop of the error itself is told to anyone.
    packet.detail = 0;
    end(worker, packet, now);
}

fn hold<P: Port>(worker: &mut Worker<P>, packet: Packet, now: Time) {
    let Resolution::Unresolved { egress, next_hop } = worker.hops.resolve(packet.route_to) else {
        return drop_packet(worker, packet, DropReason::NoRoute);
    };
    match worker.held.hold(
        packet,
        NextHop {
            egress,
            addr: next_hop,
        },
        now,
    ) {
        Holding::Asking => {
            (worker.resolver)(egress, next_hop);
            worker.counters.count(Counter::Held, 1);
        }
        Holding::Behind => worker.counters.count(Counter::Held, 1),
        Holding::Refused(packet) => drop_packet(worker, packet, DropReason::NeighbourQueueFull),
    }
}

fn drop_packet<P: Port>(worker: &mut Worker<P>, packet: Packet, reason: DropReason) {
    release(worker, packet);
    worker.counters.count(Counter::Drop(reason), 1);
}

/// Gives the packet's frame back to whom it belongs.
fn release<P: Port>(worker: &mut Worker<P>, packet: Packet) {
    give_back(worker, packet.frame, packet.reassembled.is_some());
}

fn give_back<P: Port>(worker: &mut Worker<P>, frame: Frame, is_reassembled: bool) {
    if is_reassembled {
        worker.fragments.give_back(frame);
    } else {
        worker.port.release(frame);
    }
}

#[cold]
fn drop_frame<P: Port>(worker: &mut Worker<P>, frame: Frame, reason: DropReason) {
    worker.port.release(frame);
    worker.counters.count(Counter::Drop(reason), 1);
}
