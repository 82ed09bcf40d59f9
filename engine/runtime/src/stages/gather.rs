//! After stage 2: fragments become datagrams; from here on a datagram is a packet like any other.
//!
//! Ends: [`Verdict::Join`], [`DropReason::FragmentIncomplete`], [`DropReason::FragmentOverlap`],
//! [`DropReason::Malformed`]; and [`Verdict::Hand`], for what another worker puts together.

use std::mem;

use lb_model::{DropReason, Packet, Port, PuntReason, Time, Verdict};
use lb_wire::{PROTOCOL_TCP, PROTOCOL_UDP};

use super::parse;
use crate::counters::Counter;
use crate::fragments::Fate;
use crate::worker::Worker;

/// The batch has so many `fragments`; most have none.
pub fn run<P: Port>(worker: &mut Worker<P>, fragments: usize, now: Time) {
    if fragments > 0 {
        let mut batch = mem::take(&mut worker.batch);
        let is_fragment =
            |packet: &&mut Packet| packet.verdict == Some(Verdict::Punt(PuntReason::Fragment));
        for packet in batch.packets_mut().iter_mut().filter(is_fragment) {
            gather(worker, packet, now);
        }
        worker.batch = batch;
    }
    let lost = worker.fragments.take_lost(now);
    let reason = DropReason::FragmentIncomplete;
    worker.counters.count(Counter::Drop(reason), lost);
}

#[cold]
fn gather<P: Port>(worker: &mut Worker<P>, packet: &mut Packet, now: Time) {
    let Some(fragment) = lb_wire::fragment(packet.frame.bytes()) else {
        packet.verdict = Some(Verdict::Drop(DropReason::Malformed));
        return;
    };
    if !is_balanced(fragment.protocol) {
        return;
    }
    let gatherer = worker.crew.gatherer(&fragment);
    if gatherer != worker.number {
        packet.verdict = Some(Verdict::Hand(gatherer));
        return;
    }
    packet.verdict = match worker.fragments.add(&fragment, now) {
        Fate::Kept => Some(Verdict::Join),
        Fate::Refused(reason) => Some(Verdict::Drop(reason)),
        Fate::Whole(datagram, reassembled, others) => {
            let last = mem::replace(&mut packet.frame, datagram);
            worker.port.release(last);
            worker.counters.count(Counter::Joined, others);
            packet.reassembled = Some(reassembled);
            // Its conn may be another worker's again.
            packet.handed = false;
            packet.verdict = None;
            parse::read(packet);
            return;
        }
    };
}

/// Whether a fragmented payload of this kind may be TCP or UDP.
fn is_balanced(protocol: u8) -> bool {
    const DESTINATION_OPTIONS: u8 = 60;
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP | DESTINATION_OPTIONS)
}
