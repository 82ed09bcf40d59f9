//! Conns and persistence templates that another balancer has opened, and tells of.

use std::sync::Arc;
use std::time::Duration;

use lb_conn::{Asked, TemplateKey};
use lb_model::{
    ConnState, Dest, Direction, Endpoint, FlowKey, Hit, Mark, NewConn, Replies, ServiceId, Stage,
    VirtualService,
};
use lb_wire::TcpFlags;

use crate::questions::Inside;
use crate::snapshot::Snapshot;

/// A conn as another balancer has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// CIP:cport to VIP:vport.
    pub flow: FlowKey,
    /// RIP:rport.
    pub rip: Endpoint,
    /// Its state there.
    pub state: ConnState,
    /// Whether it is known to be another connection between the ends of one that was told of before.
    pub is_anew: bool,
}

/// A template as another balancer has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForeignTemplate {
    /// What it is found by.
    pub key: TemplateKey,
    /// RIP:rport.
    pub rip: Endpoint,
    /// How long it lives without a conn; zero: as its service says.
    pub timeout: Duration,
    /// Whether a conn of it was ever established.
    pub is_assured: bool,
}

/// What became of it here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adoption {
    /// It was opened.
    Opened,
    /// It was there, and has heard that it goes on, or ends.
    Known,
    /// There is no such service here, or it has no such server; or it is not persistent, and this is a template.
    NoServer,
    /// It would need a local address of ours, and the other balancer's was another.
    NotPortable,
    /// The table is full.
    Full,
}

impl Inside<'_> {
    /// Opens a conn like `foreign`, or brings ours into its state. Its server is the other balancer's choice, whatever a
    /// scheduler here would say.
    pub fn adopt(&mut self, foreign: &Foreign) -> Adoption {
        let Foreign {
            flow, rip, state, ..
        } = *foreign;
        let flags = flags_of(state);
        if let Some(hit) = self.conns.find(&flow) {
            let ours = self.conns.state(hit.conn);
            let is_same = self.conns.conn(hit.conn).rip() == rip;
            match (is_same, ours.stage(), state.stage()) {
                // Another connection between the same ends: the one before had ended here, too.
                (true, ours, told) if told < ours && foreign.is_anew && ours >= Stage::Ending => {
                    self.conns.retire(hit.conn);
                }
                // No conn goes back: packets that came here have brought ours further.
                (true, ours, told) if told < ours => return Adoption::Known,
                (true, ..) => {
                    self.conns.packet(hit, flags, self.now);
                    return Adoption::Known;
                }
                // As the kernel's ip_vs_proc_conn: the end of a conn that another took the place of, which has been told
                // of before.
                (false, _, Stage::Ending | Stage::Closed) => return Adoption::Known,
                // What the other says is newer.
                (false, ..) => self.conns.retire(hit.conn),
            }
        }
        if self.conns.owner(self.conns.hash(&flow)).is_some() {
            // Another worker of ours has had packets of it.
            return Adoption::Known;
        }
        let Some(service) = service_of(self.snapshot, &flow) else {
            return Adoption::NoServer;
        };
        let Some(dest) = dest_at(service, rip) else {
            return Adoption::NoServer;
        };
        let mode = dest.mode();
        let binding = &self.snapshot.modes()[usize::from(mode)];
        let replies = binding.replies();
        if !matches!(replies, Replies::Direct | Replies::ToClient) {
            return Adoption::NotPortable;
        }
        let asked = service.settings().client_address;
        let conn = NewConn {
            flow,
            dest,
            rip,
            local: None,
            replies,
            introduction: binding.introduction(flow.protocol, asked),
            mode,
        };
        // It begins with what makes a conn an established one, whatever comes then.
        let first = TcpFlags::ACK;
        match self.conns.open(conn, None, first, self.now) {
            Err(_) => Adoption::Full,
            Ok(conn) => {
                if flags != first {
                    let direction = Direction::Inbound;
                    self.conns.packet(Hit { conn, direction }, flags, self.now);
                }
                Adoption::Opened
            }
        }
    }
}

impl Inside<'_> {
    /// Makes a template like `foreign`, or begins the time of ours anew. It leads where the other balancer's does, whichever
    /// ours led to: that is newer. Only one worker `opens` it, from which the others know where clients go.
    pub fn adopt_template(&mut self, foreign: &ForeignTemplate, opens: bool) -> Adoption {
        let ForeignTemplate { key, rip, .. } = *foreign;
        let id = match key.asked {
            Asked::Service(key) => key.into(),
            Asked::Mark(mark) => ServiceId::Mark(Mark {
                mark,
                v6: !key.client.is_v4(),
            }),
        };
        let service = self.snapshot.find(&id);
        let service = service.and_then(|at| self.snapshot.services().get(at as usize));
        let persistence = service.and_then(|service| service.settings().persistence.as_ref());
        let dest = service.and_then(|service| dest_at(service, rip));
        let (Some(persistence), Some(dest)) = (persistence, dest) else {
            return Adoption::NoServer;
        };
        let timeout = match foreign.timeout {
            Duration::ZERO => persistence.timeout,
            told => told,
        };
        let templates = self.conns.templates_mut();
        let is_it = |other: &Dest| std::ptr::eq(other, &**dest);
        let (id, outcome) = match templates.find(&key) {
            Some(id) if is_it(&templates.get(id).dest) => {
                templates.renew(id, timeout, self.now);
                (Some(id), Adoption::Known)
            }
            other => {
                if let Some(other) = other {
                    templates.forget(other);
                }
                if !opens {
                    return Adoption::Known;
                }
                let opened = templates.open(key, dest, is_it, timeout, self.now);
                let outcome = opened.map_or(Adoption::Full, |_| Adoption::Opened);
                (opened, outcome)
            }
        };
        if let Some(id) = id
            && foreign.is_assured
        {
            templates.assure(id);
        }
        outcome
    }
}

/// What a client sends that brings a conn into a state, as far as there is such a packet: a state decides how long a conn
/// lives, and whether it counts as active.
fn flags_of(state: ConnState) -> TcpFlags {
    match state {
        ConnState::Udp => TcpFlags::default(),
        ConnState::None | ConnState::SynSent | ConnState::SynRecv => TcpFlags::SYN,
        ConnState::FinWait | ConnState::TimeWait | ConnState::CloseWait | ConnState::LastAck => {
            TcpFlags::FIN.with(TcpFlags::ACK)
        }
        ConnState::Close => TcpFlags::RST,
        ConnState::Established | ConnState::Listen | ConnState::SynAck => TcpFlags::ACK,
    }
}

/// The service that a client's packets are for.
fn service_of<'s>(snapshot: &'s Snapshot, flow: &FlowKey) -> Option<&'s VirtualService> {
    let at = snapshot.service_for(flow)?;
    snapshot.services().get(at as usize)
}

/// The server of a service at this address; either side may leave the port to the client.
fn dest_at(service: &VirtualService, rip: Endpoint) -> Option<&Arc<Dest>> {
    let is_it = |dest: &&Arc<Dest>| {
        let known = dest.rip();
        known.addr == rip.addr && (known.port == rip.port || known.port == 0 || rip.port == 0)
    };
    service.dests().iter().find(is_it)
}
