//! Why a packet goes where it goes: the conn that it belongs to, or what would be decided if it were the first of one.

use std::sync::Arc;

use lb_conn::TemplateKey;
use lb_model::{
    Dest, Direction, DropReason, Endpoint, FlowKey, Request, Resolution, VirtualService,
};
use lb_runtime::{Decision, Inside};

use crate::{ConnRecord, Engine};

/// Decisions about one client or service that are told, per worker.
const DECISIONS: usize = 8;

/// What one worker knows of a flow.
#[derive(Clone, Debug)]
pub struct Why {
    /// The conn that they belong to.
    pub conn: Option<ConnRecord>,
    /// The server that persistence would send a new conn to.
    pub kept_by_persistence: bool,
    /// Where a packet that opens a conn would go; that of the conn if there is one.
    pub choice: Choice,
    /// The server's way.
    pub next_hop: Option<NextHop>,
    /// What the server sees: source and destination. Without a conn, a local port is not chosen yet.
    pub rewritten: Option<(Endpoint, Endpoint)>,
    /// Last decisions about this client or this service, with their age in seconds, the latest first.
    pub decisions: Vec<(u64, Decision)>,
}

/// Where a packet that opens a conn would go.
#[derive(Clone, Debug)]
pub enum Choice {
    /// To this server.
    Server(Arc<Dest>),
    /// Nowhere.
    Refused(DropReason),
    /// To the kernel: there is no such service.
    NotOurs,
    /// The scheduler does not tell beforehand.
    Untold,
}

/// The way to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The interface's name.
    pub interface: String,
    /// The MAC of the next hop; `None` while the kernel is asked for it.
    pub mac: Option<lb_model::Mac>,
}

impl Engine {
    /// The service that packets of `flow` are addressed to.
    pub fn service_for(&self, flow: &FlowKey) -> Option<VirtualService> {
        let snapshot = self.snapshot();
        let at = snapshot.service_for(flow)?;
        snapshot.services().get(at as usize).cloned()
    }

    /// What each worker knows of `flow`; for a thread that may wait. `None` for one that is gone.
    pub fn why(&self, flow: FlowKey) -> Vec<Option<Why>> {
        let askers = self.askers();
        let ask = |(worker, asker): (usize, &lb_runtime::Asker)| {
            asker.ask(move |inside| why(inside, &flow, worker))
        };
        askers.iter().enumerate().map(ask).collect()
    }
}

fn why(inside: &mut Inside<'_>, flow: &FlowKey, worker: usize) -> Why {
    let position = inside.snapshot.service_for(flow);
    let service = position.map(|at| &inside.snapshot.services()[at as usize]);
    let found = inside.conns.find(flow);
    let found = found.filter(|hit| hit.direction == Direction::Inbound);
    let conn = found.map(|hit| inside.conns.view(hit.conn, inside.now));
    let record = conn.as_ref().map(|view| ConnRecord::of(view, worker));
    let template = service.and_then(|service| template(inside, service, flow));
    let choice = match (&conn, &template, service, position) {
        (Some(view), ..) => Choice::Server(Arc::clone(view.conn.dest())),
        (None, Some(dest), ..) => Choice::Server(Arc::clone(dest)),
        (None, None, Some(service), Some(at)) => choose(inside, service, at as usize, flow),
        _ => Choice::NotOurs,
    };
    let dest = match &choice {
        Choice::Server(dest) => Some(Arc::clone(dest)),
        _ => None,
    };
    let rip = record
        .map(|record| record.rip)
        .or_else(|| Some(dest.as_ref()?.rip()));
    let rewritten = match (&conn, &dest) {
        (Some(view), _) => {
            let mode = &inside.snapshot.modes()[usize::from(view.conn.mode())];
            Some(mode.endpoints(view.conn, Direction::Inbound))
        }
        (None, Some(dest)) => {
            let mode = &inside.snapshot.modes()[usize::from(dest.mode())];
            let mapped = service.filter(|_| mode.maps_ports());
            let to = mapped.map(|service| service.server_end(dest.rip(), flow.destination.port));
            Some((flow.source, to.unwrap_or(flow.destination)))
        }
        (None, None) => None,
    };
    let about = |decision: &&Decision| {
        decision.flow.source.addr == flow.source.addr
            || service.is_some_and(|service| service.id() == decision.service)
    };
    let age = |decision: &Decision| (inside.now.since(decision.at).as_secs(), *decision);
    Why {
        conn: record,
        kept_by_persistence: template.is_some(),
        choice,
        next_hop: rip.and_then(|rip| next_hop(inside, rip)),
        rewritten,
        decisions: inside
            .decisions
            .latest()
            .filter(about)
            .map(age)
            .take(DECISIONS)
            .collect(),
    }
}

fn template(inside: &Inside<'_>, service: &VirtualService, flow: &FlowKey) -> Option<Arc<Dest>> {
    let key = TemplateKey::of(service, service.settings().persistence.as_ref()?, flow);
    let passes_over_quiesced = inside.snapshot.settings().expire_quiescent_template;
    let is_usable =
        |dest: &Dest| dest.is_available() && !(passes_over_quiesced && dest.weight() == 0);
    let templates = inside.conns.templates();
    let own = templates.find(&key).map(|own| &templates.get(own).dest);
    let own = own.filter(|dest| is_usable(dest)).map(Arc::clone);
    own.or_else(|| templates.agreed(&key, is_usable))
}

fn choose(
    inside: &Inside<'_>,
    service: &VirtualService,
    position: usize,
    flow: &FlowKey,
) -> Choice {
    if !service.takes_port(flow.destination.port) {
        return Choice::Refused(DropReason::NoDest);
    }
    let request = Request {
        flow,
        now: inside.now,
    };
    let scheduler = inside.schedulers.get(position);
    let Some(mut scheduler) = scheduler.and_then(|s| s.copy_for(&request)) else {
        return Choice::Untold;
    };
    match scheduler.schedule(&request, service.dests()) {
        Some(at) => Choice::Server(Arc::clone(&service.dests()[at])),
        None => Choice::Refused(DropReason::NoDest),
    }
}

fn next_hop(inside: &Inside<'_>, rip: Endpoint) -> Option<NextHop> {
    let (egress, mac) = match inside.next_hops.resolve(rip.addr) {
        Resolution::Reachable(hop) => (hop.egress, Some(hop.ends.destination())),
        Resolution::Unresolved { egress, .. } => (egress, None),
        Resolution::Unreachable => return None,
    };
    let interface = inside.next_hops.interfaces().get(usize::from(egress.0))?;
    Some(NextHop {
        interface: interface.name.clone(),
        mac,
    })
}
