//! Where a new conn goes (kernel `ip_vs_schedule`, `ip_vs_sched_persist`).
//!
//! Ends: [`PuntReason::NoConn`], [`DropReason::NoDest`], [`DropReason::TableFull`].

use std::sync::Arc;

use lb_conn::{TemplateId, TemplateKey};
use lb_model::{
    Dest, DropReason, Endpoint, Packet, Persistence, Protocol, PuntReason, Request, Time, Verdict,
    VirtualService,
};
use lb_wire::TcpFlags;

use crate::worker::Worker;

/// Where a new conn goes.
pub struct Choice<'s> {
    /// Its server.
    pub dest: &'s Arc<Dest>,
    /// The server's end of the conn.
    pub rip: Endpoint,
    /// The template that it is a conn of.
    pub template: Option<TemplateId>,
    /// Whether it is for this packet only.
    pub one_packet: bool,
}

/// By the service's scheduler, or where the client is led that stays with its server. What `kept` is for: a template's server
/// may be of no service any more.
#[inline]
pub fn choose<'s, P>(
    worker: &mut Worker<P>,
    packet: &Packet,
    service: &'s VirtualService,
    kept: &'s mut Option<Arc<Dest>>,
    now: Time,
) -> Result<Choice<'s>, Verdict> {
    let flags = TcpFlags(packet.headers.tcp_flags);
    // As the kernel's tcp_conn_schedule: a SYN opens, with or without ACK, and nothing else does.
    let opens = packet.flow.protocol != Protocol::Tcp
        || ((flags.has(TcpFlags::SYN) || worker.snapshot.settings().sloppy_tcp)
            && !flags.has(TcpFlags::RST));
    if !opens {
        return Err(Verdict::Punt(PuntReason::NoConn));
    }
    if let Some(persistence) = &service.settings().persistence {
        return choose_persistently(worker, packet, (service, persistence), kept, now);
    }
    let asked_for = packet.flow.destination.port;
    if !service.takes_port(asked_for) {
        return Err(Verdict::Drop(DropReason::NoDest));
    }
    let dest = pick(worker, packet, service, now)?;
    Ok(Choice {
        rip: service.server_end(dest.rip(), asked_for),
        dest,
        template: None,
        one_packet: is_one_packet(packet, service),
    })
}

/// By the client's template, or by a new one.
fn choose_persistently<'s, P>(
    worker: &mut Worker<P>,
    packet: &Packet,
    (service, persistence): (&'s VirtualService, &Persistence),
    kept: &'s mut Option<Arc<Dest>>,
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
    let dest = kept.insert(Arc::clone(&worker.conns.templates().get(template).dest));
    Ok(Choice {
        rip: service.server_end(dest.rip(), packet.flow.destination.port),
        dest,
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
