//! Stage 7: every packet to where its verdict says, and its counter.
//!
//! Ends: [`DropReason::TxRingFull`], [`DropReason::PuntFailed`], [`DropReason::NeighbourQueueFull`],
//! [`DropReason::NeighbourUnresolved`].

use lb_model::{DropReason, Frame, Packet, Port, PuntReason, Resolution, Time, Verdict};

use super::rewrite::{complete_checksum, route};
use crate::answer::{self, Message, turn_round};
use crate::counters::Counter;
use crate::held::{Holding, NextHop};
use crate::worker::Worker;

/// The batch, then whatever the port has queued.
pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let mut batch = std::mem::take(&mut worker.batch);
    for packet in batch.drain() {
        end(worker, packet, now);
    }
    worker.batch = batch;
    worker.port.flush();
}

/// Packets that waited for their next hop and need not wait longer; before any packet that came after them.
pub fn released<P: Port>(worker: &mut Worker<P>, now: Time) {
    for packet in worker.held.release(now, worker.hops.next_hops()) {
        end(worker, packet, now);
    }
}

/// Packets that still wait at the end of the worker's life.
pub fn give_up<P: Port>(worker: &mut Worker<P>) {
    for packet in worker.held.take() {
        drop_frame(worker, packet.frame, DropReason::NeighbourUnresolved);
    }
    worker.port.flush();
}

fn end<P: Port>(worker: &mut Worker<P>, mut packet: Packet, now: Time) {
    // Every stage before this one leaves a packet open only for the next to end it, and `rewrite` ends the rest.
    debug_assert!(
        !packet.is_open(),
        "a packet reached transmit without a verdict: {packet:?}"
    );
    match packet.verdict.unwrap_or(Verdict::Punt(PuntReason::NotOurs)) {
        Verdict::Tx(egress) => {
            let bytes = packet.frame.len() as u64;
            match worker.port.transmit(egress, packet.frame) {
                Ok(()) => {
                    worker.counters.count(Counter::Tx, 1);
                    worker.counters.count(Counter::TxBytes, bytes);
                }
                Err(frame) => drop_frame(worker, frame, DropReason::TxRingFull),
            }
        }
        Verdict::Punt(reason) => {
            if packet.is_parsed() && packet.related.is_none() {
                // The way back to the kernel has no means to say that a checksum is not complete.
                complete_checksum(&mut packet);
            }
            match worker.port.punt(packet.ingress, packet.frame) {
                Ok(()) => worker.counters.count(Counter::Punt(reason), 1),
                Err(frame) => drop_frame(worker, frame, DropReason::PuntFailed),
            }
        }
        Verdict::Drop(reason) => match answer::about(&packet, reason) {
            None => drop_frame(worker, packet.frame, reason),
            Some(message) => {
                worker.counters.count(Counter::Drop(reason), 1);
                tell_sender(worker, packet, message, now);
            }
        },
        Verdict::Hold => hold(worker, packet, now),
    }
}

/// Sends the packet, which has ended and was counted, back as an ICMP error.
#[cold]
fn tell_sender<P: Port>(worker: &mut Worker<P>, mut packet: Packet, message: Message, now: Time) {
    let settings = worker.snapshot.settings();
    let (per_second, burst) = (settings.icmp_msgs_per_sec, settings.icmp_msgs_burst);
    if !worker.limiter.allows(now, per_second, burst) {
        worker.counters.count(Counter::IcmpLimited, 1);
        return worker.port.release(packet.frame);
    }
    let source = answer::source(&packet, &mut worker.hops);
    let quote = packet.headers.l3.into()..packet.headers.end.into();
    let turned = source.is_some_and(|source| turn_round(&mut packet, source, quote, message));
    if !turned {
        return worker.port.release(packet.frame);
    }
    worker.counters.count(Counter::IcmpSent, 1);
    let way = worker.hops.resolve(packet.route_to);
    route(&mut packet, way);
    // Neither a drop of the error itself is told to anyone.
    packet.detail = 0;
    end(worker, packet, now);
}

fn hold<P: Port>(worker: &mut Worker<P>, packet: Packet, now: Time) {
    let Resolution::Unresolved { egress, next_hop } = worker.hops.resolve(packet.route_to) else {
        return drop_frame(worker, packet.frame, DropReason::NoRoute);
    };
    match worker.held.hold(
        packet,
        NextHop {
            egress,
            addr: next_hop,
        },
        now,
    ) {
        Holding::First => {
            (worker.resolver)(egress, next_hop);
            worker.counters.count(Counter::Held, 1);
        }
        Holding::Behind => worker.counters.count(Counter::Held, 1),
        Holding::Refused(packet) => {
            drop_frame(worker, packet.frame, DropReason::NeighbourQueueFull)
        }
    }
}

fn drop_frame<P: Port>(worker: &mut Worker<P>, frame: Frame, reason: DropReason) {
    worker.port.release(frame);
    worker.counters.count(Counter::Drop(reason), 1);
}
