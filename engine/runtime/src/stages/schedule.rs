//! Stage 5, for packets of no conn: the service's scheduler chooses a server, and a conn opens (kernel
//! `ip_vs_schedule`).
//!
//! Ends: [`PuntReason::NotOurs`], [`PuntReason::NoConn`], [`DropReason::NoDest`], [`DropReason::TableFull`],
//! [`DropReason::ReplyTupleTaken`], [`DropReason::NoLocalPort`].

use std::borrow::Cow;
use std::sync::Arc;

use lb_conn::{Refused, TemplateId, TemplateKey};
use lb_model::{
    Addr, Dest, Direction, DropReason, Endpoint, FlowHash, Hit, NewConn, Packet, Persistence, Port,
    Protocol, PuntReason, Replies, Request, Time, Verdict, VirtualService,
};
use lb_wire::TcpFlags;

use crate::counters::Counter;
use crate::decisions::Decision;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let mut batch = std::mem::take(&mut worker.batch);
    let snapshot = Arc::clone(&worker.snapshot);
    let mut opened = 0;
    for packet in batch.open_mut().filter(|packet| packet.hit.is_none()) {
        let known = packet.flow_hash;
        let hash = known.unwrap_or_else(|| worker.conns.flow_hash(&packet.flow));
        // A packet before this one in the batch may have opened the conn.
        if opened > 0 {
            let place = worker.conns.place(hash);
            let found = worker.conns.find_hashed(place, &packet.flow);
            packet.hit = found.filter(|hit| packet.superseded != Some(hit.conn));
            if packet.hit.is_some() {
                continue;
            }
        }
        let outcome = open(worker, &snapshot, packet, hash, now);
        note(worker, &snapshot, packet, &outcome, now);
        match outcome {
            Ok(hit) => {
                packet.hit = Some(hit);
                packet.opened = true;
                opened += 1;
            }
            Err(verdict) => packet.verdict = Some(verdict),
        }
    }
    worker.counters.count(Counter::ConnOpen, opened);
    let evicted = worker.conns.take_evicted();
    worker.counters.count(Counter::ConnEvict, evicted);
    let unclaimed = worker.conns.take_unclaimed();
    worker.counters.count(Counter::ConnUnclaimed, unclaimed);
    worker.batch = batch;
}

/// Remembers what was decided about a packet to a service.
fn note<P>(
    worker: &mut Worker<P>,
    snapshot: &Snapshot,
    packet: &Packet,
    outcome: &Result<Hit, Verdict>,
    now: Time,
) {
    let outcome = match outcome {
        Ok(hit) => Ok(worker.conns.conn(hit.conn).rip()),
        Err(Verdict::Drop(reason)) => Err(*reason),
        Err(_) => return,
    };
    if let Some(at) = packet.service {
        worker.decisions.note(Decision {
            at: now,
            flow: packet.flow,
            service: snapshot.services()[at as usize].id(),
            outcome,
        });
    }
}

/// Where a new conn goes.
struct Choice<'s> {
    dest: Cow<'s, Arc<Dest>>,
    /// The server's end of the conn.
    rip: Endpoint,
    template: Option<TemplateId>,
    /// Whether it is for this packet only.
    one_packet: bool,
}

fn open<P>(
    worker: &mut Worker<P>,
    snapshot: &Snapshot,
    packet: &Packet,
    hash: FlowHash,
    now: Time,
) -> Result<Hit, Verdict> {
    let choice = choose(worker, snapshot, packet, now);
    // The conn that this one takes the place of counts while its server is chosen, and not after.
    if let Some(superseded) = packet.superseded {
        worker.conns.retire(superseded);
    }
    let Choice {
        dest,
        rip,
        template,
        one_packet,
    } = choice?;
    let mode = dest.mode();
    let service = packet.service.map(|at| &snapshot.services()[at as usize]);
    let settings = service.map(VirtualService::settings);
    let binding = &snapshot.modes()[usize::from(mode)];
    let replies = binding.replies();
    let vip = [packet.flow.destination.addr];
    let locals = match replies {
        Replies::Direct | Replies::ToClient => None,
        Replies::ToLocalAddress => settings.map(|settings| &*settings.local_addresses),
        Replies::ByAgent => Some(&vip[..]),
    };
    let lease = |locals: &[Addr]| {
        let turn = match locals {
            [_] => 0,
            _ => dest.next_turn(),
        };
        let ports = worker.conns.ports_mut();
        let leased = ports.lease(locals, turn, rip, packet.flow.protocol, now);
        leased.ok_or(Verdict::Drop(DropReason::NoLocalPort))
    };
    let local = locals.map(lease).transpose()?;
    let asked = settings.and_then(|settings| settings.client_address);
    let introduction = binding.introduction(packet.flow.protocol, asked);
    let slot = dest.slot();
    let conn = NewConn {
        flow: packet.flow,
        dest: &dest,
        rip,
        local,
        replies,
        introduction,
        mode,
    };
    let opened = if one_packet {
        worker.conns.open_for_one_packet(conn, template, now)
    } else {
        let flags = TcpFlags(packet.headers.tcp_flags);
        worker.conns.open_hashed(hash, conn, template, flags, now)
    };
    match opened {
        Ok(conn) => {
            worker.book.opened(slot);
            Ok(Hit {
                conn,
                direction: Direction::Inbound,
            })
        }
        Err(Refused::Full) => Err(Verdict::Drop(DropReason::TableFull)),
        Err(Refused::ReplyTaken) => Err(Verdict::Drop(DropReason::ReplyTupleTaken)),
    }
}

fn choose<'s, P>(
    worker: &mut Worker<P>,
    snapshot: &'s Snapshot,
    packet: &Packet,
    now: Time,
) -> Result<Choice<'s>, Verdict> {
    let position = packet.service.ok_or(Verdict::Punt(PuntReason::NotOurs))? as usize;
    let service = &snapshot.services()[position];
    let flags = TcpFlags(packet.headers.tcp_flags);
    // As the kernel's tcp_conn_schedule: a SYN opens, with or without ACK, and nothing else does.
    let opens = packet.flow.protocol != Protocol::Tcp
        || ((flags.has(TcpFlags::SYN) || snapshot.settings().sloppy_tcp)
            && !flags.has(TcpFlags::RST));
    if !opens {
        return Err(Verdict::Punt(PuntReason::NoConn));
    }
    if let Some(persistence) = &service.settings().persistence {
        return choose_persistently(worker, packet, service, persistence, now);
    }
    let asked_for = packet.flow.destination.port;
    if !service.takes_port(asked_for) {
        return Err(Verdict::Drop(DropReason::NoDest));
    }
    let dest = pick(worker, packet, service, now)?;
    Ok(Choice {
        rip: service.server_end(dest.rip(), asked_for),
        dest: Cow::Borrowed(dest),
        template: None,
        one_packet: is_one_packet(packet, service),
    })
}

/// By the client's template, or by a new one (kernel `ip_vs_sched_persist`).
fn choose_persistently<'s, P>(
    worker: &mut Worker<P>,
    packet: &Packet,
    service: &'s VirtualService,
    persistence: &Persistence,
    now: Time,
) -> Result<Choice<'s>, Verdict> {
    let key = TemplateKey::of(service, persistence, &packet.flow);
    let found = worker.conns.templates().find(&key);
    let passes_over_quiesced = worker.snapshot.settings().expire_quiescent_template;
    let is_usable =
        |dest: &Dest| dest.is_available() && !(passes_over_quiesced && dest.weight() == 0);
    let usable = found.filter(|id| is_usable(&worker.conns.templates().get(*id).dest));
    let template = match usable {
        Some(template) => template,
        None => {
            if let Some(useless) = found {
                worker.conns.templates_mut().forget(useless);
            }
            let dest = match worker.conns.templates().agreed(&key, is_usable) {
                Some(dest) => dest,
                None => Arc::clone(pick(worker, packet, service, now)?),
            };
            let templates = worker.conns.templates_mut();
            let opened = templates.open(key, &dest, is_usable, persistence.timeout, now);
            opened.ok_or(Verdict::Drop(DropReason::TableFull))?
        }
    };
    let dest = Arc::clone(&worker.conns.templates().get(template).dest);
    Ok(Choice {
        rip: service.server_end(dest.rip(), packet.flow.destination.port),
        dest: Cow::Owned(dest),
        template: Some(template),
        one_packet: is_one_packet(packet, service),
    })
}

fn is_one_packet(packet: &Packet, service: &VirtualService) -> bool {
    service.settings().one_packet && packet.flow.protocol == Protocol::Udp
}

fn pick<'s, P>(
    worker: &mut Worker<P>,
    packet: &Packet,
    service: &'s VirtualService,
    now: Time,
) -> Result<&'s Arc<Dest>, Verdict> {
    let request = Request {
        flow: &packet.flow,
        now,
    };
    let scheduler = packet
        .service
        .and_then(|at| worker.schedulers.get_mut(at as usize));
    scheduler
        .and_then(|scheduler| scheduler.schedule(&request, service.dests()))
        .and_then(|at| service.dests().get(at))
        .ok_or(Verdict::Drop(DropReason::NoDest))
}
