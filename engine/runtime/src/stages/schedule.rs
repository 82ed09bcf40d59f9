//! Stage 5, for packets of no conn: the service's scheduler chooses a server, and a conn opens.
//!
//! Ends: [`PuntReason::NoConn`], [`DropReason::NoDest`], [`DropReason::TableFull`],
//! [`DropReason::ReplyTupleTaken`].

use std::sync::Arc;

use lb_conn::Refused;
use lb_model::{
    Conn, Direction, DropReason, Hit, Packet, Port, Protocol, PuntReason, Request, Time, Verdict,
};
use lb_wire::TcpFlags;

use crate::counters::Counter;
use crate::worker::Worker;

pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let mut batch = std::mem::take(&mut worker.batch);
    let mut opened = 0;
    for packet in batch.open_mut().filter(|packet| packet.hit.is_none()) {
        // A packet before this one in the batch may have opened the conn.
        if opened > 0 {
            packet.hit = worker.conns.find(&packet.flow);
        }
        if packet.hit.is_none() {
            match open(worker, packet, now) {
                Ok(hit) => {
                    packet.hit = Some(hit);
                    opened += 1;
                }
                Err(verdict) => packet.verdict = Some(verdict),
            }
        }
    }
    worker.counters.count(Counter::ConnOpen, opened);
    worker.batch = batch;
}

fn open<P>(worker: &mut Worker<P>, packet: &Packet, now: Time) -> Result<Hit, Verdict> {
    let position = packet.service.ok_or(Verdict::Punt(PuntReason::NotOurs))? as usize;
    let flags = TcpFlags(packet.headers.tcp_flags);
    // As the kernel's tcp_conn_schedule: a SYN opens, with or without ACK, and nothing else does.
    let opens = packet.flow.protocol != Protocol::Tcp
        || (flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::RST));
    if !opens {
        return Err(Verdict::Punt(PuntReason::NoConn));
    }
    let service = &worker.snapshot.services()[position];
    let request = Request {
        flow: &packet.flow,
        now,
    };
    let choice = worker.schedulers[position].schedule(&request, service.dests());
    let dest = choice
        .and_then(|at| service.dests().get(at))
        .ok_or(Verdict::Drop(DropReason::NoDest))?;
    let conn = Conn {
        flow: packet.flow,
        dest: Arc::clone(dest),
        reply: service.mode().reply(&packet.flow, dest),
        mode: service.mode_id(),
    };
    match worker.conns.open(conn, None, flags, now) {
        Ok(conn) => Ok(Hit {
            conn,
            direction: Direction::Inbound,
        }),
        Err(Refused::Full) => Err(Verdict::Drop(DropReason::TableFull)),
        Err(Refused::ReplyTaken) => Err(Verdict::Drop(DropReason::ReplyTupleTaken)),
    }
}
