//! Stage 5, for packets of no conn: the service's scheduler chooses a server, and a conn opens (kernel
//! `ip_vs_schedule`).
//!
//! Ends: [`PuntReason::NotOurs`], [`PuntReason::NoConn`], [`DropReason::NoDest`], [`DropReason::TableFull`],
//! [`DropReason::ReplyTupleTaken`], [`DropReason::NoLocalPort`].

mod choice;

use std::slice;
use std::sync::Arc;

use arrayvec::ArrayVec;
use lb_conn::{Begun, Refused};
use lb_model::{
    Addr, BATCH, Dest, Direction, DropReason, Endpoint, FlowHash, Hit, NewConn, Packet, Port,
    PuntReason, Replies, Time, Verdict, VirtualService,
};
use lb_wire::TcpFlags;

use choice::{Choice, choose};

use crate::counters::Counter;
use crate::decisions::Decision;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// In two rounds, so that the waits for memory overlap: all conns begin, and then their outbound packets are found.
pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let mut batch = std::mem::take(&mut worker.batch);
    let snapshot = Arc::clone(&worker.snapshot);
    let mut opening = Opening {
        worker,
        snapshot: &snapshot,
        now,
        service: None,
        begun: ArrayVec::new(),
        hashes: Hashes::default(),
        opened: 0,
    };
    let packets = batch.packets_mut();
    for at in 0..packets.len() {
        if packets[at].is_open() && packets[at].hit.is_none() {
            opening.see(packets, at);
        }
    }
    opening.complete(packets);
    let opened = opening.opened;
    worker.counters.count(Counter::ConnOpen, opened);
    let evicted = worker.conns.take_evicted();
    worker.counters.count(Counter::ConnEvict, evicted);
    let unclaimed = worker.conns.take_unclaimed();
    worker.counters.count(Counter::ConnUnclaimed, unclaimed);
    worker.batch = batch;
}

/// The conns that a batch opens.
struct Opening<'w, P> {
    worker: &'w mut Worker<P>,
    snapshot: &'w Snapshot,
    now: Time,
    /// That of the last packet, and where it is in the snapshot: the next one's often is the same.
    service: Option<(u32, &'w VirtualService)>,
    /// Those that are not complete.
    begun: ArrayVec<Opened, BATCH>,
    hashes: Hashes,
    /// How many are complete.
    opened: u64,
}

/// A conn that has begun.
#[derive(Clone, Copy)]
struct Opened {
    begun: Begun,
    /// Its packet, by its place in the batch.
    packet: u32,
    /// Of its server.
    slot: u32,
    rip: Endpoint,
}

impl<'w, P> Opening<'w, P> {
    /// One more packet without a conn, at this place in the batch.
    #[inline]
    fn see(&mut self, packets: &mut [Packet], at: usize) {
        let known = packets[at].flow_hash;
        let hash = known.unwrap_or_else(|| self.worker.conns.flow_hash(&packets[at].flow));
        // A packet before this one in the batch may have opened the conn.
        if self.hashes.may_have(hash) && self.has_opened(packets, at, hash) {
            return;
        }
        let packet = &mut packets[at];
        match self.begin(packet, hash) {
            Ok(opened) => {
                packet.hit = Some(Hit {
                    conn: opened.begun.conn,
                    direction: Direction::Inbound,
                });
                packet.opened = true;
                self.hashes.add(hash);
                if let Some(reply) = opened.begun.reply() {
                    self.hashes.add(reply);
                }
                let opened = Opened {
                    packet: at as u32,
                    ..opened
                };
                // As many as packets at most.
                self.begun.push(opened);
            }
            Err(verdict) => self.refuse(packet, verdict),
        }
    }

    /// Whether a conn that this batch has opened is that of the packet, which gets it then.
    #[inline(never)]
    fn has_opened(&mut self, packets: &mut [Packet], at: usize, hash: FlowHash) -> bool {
        self.complete(packets);
        let (packet, conns) = (&mut packets[at], &self.worker.conns);
        let found = conns.find_hashed(conns.place(hash), &packet.flow);
        packet.hit = found.filter(|hit| packet.superseded != Some(hit.conn));
        packet.hit.is_some()
    }

    /// From now on the outbound packets of all conns that have begun are found.
    fn complete(&mut self, packets: &mut [Packet]) {
        for number in 0..self.begun.len() {
            let opened = self.begun[number];
            let packet = &mut packets[opened.packet as usize];
            match self.worker.conns.complete(opened.begun, self.now) {
                Ok(()) => {
                    self.opened += 1;
                    self.worker.book.opened(opened.slot);
                    self.note(packet, Ok(opened.rip));
                }
                Err(refused) => self.take_back(packet, refused),
            }
        }
        self.begun.clear();
    }

    /// The conn that this packet began is none. Nor is it any other's: those of its flow come after all are complete.
    #[cold]
    fn take_back(&mut self, packet: &mut Packet, refused: Refused) {
        (packet.hit, packet.opened) = (None, false);
        self.refuse(packet, verdict_of(refused));
    }

    #[cold]
    fn refuse(&mut self, packet: &mut Packet, verdict: Verdict) {
        packet.verdict = Some(verdict);
        if let Verdict::Drop(reason) = verdict {
            self.note(packet, Err(reason));
        }
    }

    /// Remembers what was decided about a packet to a service.
    #[inline]
    fn note(&mut self, packet: &Packet, outcome: Result<Endpoint, DropReason>) {
        if let Some(service) = self.service_of(packet) {
            self.worker.decisions.note(Decision {
                at: self.now,
                flow: packet.flow,
                service: service.id(),
                outcome,
            });
        }
    }

    #[inline]
    fn service_of(&mut self, packet: &Packet) -> Option<&'w VirtualService> {
        let at = packet.service?;
        match self.service {
            Some((last, service)) if last == at => Some(service),
            _ => {
                let service = &self.snapshot.services()[at as usize];
                self.service = Some((at, service));
                Some(service)
            }
        }
    }

    fn begin(&mut self, packet: &Packet, hash: FlowHash) -> Result<Opened, Verdict> {
        let service = self.service_of(packet);
        // What a template leads to, which may be of no service any more.
        let mut kept = None;
        let choice = match service {
            Some(service) => choose(self.worker, packet, service, &mut kept, self.now),
            None => Err(Verdict::Punt(PuntReason::NotOurs)),
        };
        let conns = &mut self.worker.conns;
        // The conn that this one takes the place of counts while its server is chosen, and not after.
        if let Some(superseded) = packet.superseded {
            conns.retire(superseded);
        }
        let Choice {
            dest,
            rip,
            template,
            one_packet,
        } = choice?;
        let mode = dest.mode();
        let settings = service.map(VirtualService::settings);
        let binding = &self.snapshot.modes()[usize::from(mode)];
        let replies = binding.replies();
        let locals = match replies {
            Replies::Direct | Replies::ToClient => None,
            Replies::ToLocalAddress => settings.map(|settings| &*settings.local_addresses),
            Replies::ByAgent => Some(slice::from_ref(&packet.flow.destination.addr)),
        };
        let protocol = packet.flow.protocol;
        let asked = settings.and_then(|settings| settings.client_address);
        let mut conn = NewConn {
            flow: packet.flow,
            dest,
            rip,
            local: None,
            replies,
            introduction: binding.introduction(protocol, asked),
            mode,
        };
        if let Some(locals) = locals {
            let (turn, ports) = (turn(dest, locals), conns.ports_mut());
            let leased = ports.lease(locals, turn, &conn.rip, protocol, self.now);
            let (addr, port) = leased.ok_or(Verdict::Drop(DropReason::NoLocalPort))?;
            // Where it is to be: what is made elsewhere and moved there, the processor waits for.
            conn.local = Some(Endpoint::new(*addr, port));
        }
        let begun = if one_packet {
            conns.begin_for_one_packet(&conn, template, self.now)
        } else {
            let flags = TcpFlags(packet.headers.tcp_flags);
            conns.begin(hash, &conn, template, flags, self.now)
        };
        Ok(Opened {
            begun: begun.map_err(verdict_of)?,
            packet: 0,
            slot: dest.slot(),
            rip,
        })
    }
}

/// What flows hash to, roughly: what was not added is hardly ever taken for such, and what was, always.
#[derive(Default)]
struct Hashes([u64; 16]);

impl Hashes {
    #[inline]
    fn may_have(&self, FlowHash(hash): FlowHash) -> bool {
        self.0[place_of(hash)] >> (hash % 64) & 1 != 0
    }

    #[inline]
    fn add(&mut self, FlowHash(hash): FlowHash) {
        self.0[place_of(hash)] |= 1 << (hash % 64);
    }
}

#[inline]
fn place_of(hash: u64) -> usize {
    (hash / 64 % 16) as usize
}

fn verdict_of(refused: Refused) -> Verdict {
    Verdict::Drop(match refused {
        Refused::Full => DropReason::TableFull,
        Refused::ReplyTaken => DropReason::ReplyTupleTaken,
    })
}

/// Which of `locals` is next.
#[inline]
fn turn(dest: &Dest, locals: &[Addr]) -> u32 {
    match locals {
        [_] => 0,
        _ => dest.next_turn(),
    }
}
