//! Conns that another balancer has opened, and tells of.

use std::sync::Arc;

use lb_model::{
    ConnState, Dest, Direction, Endpoint, FlowKey, Hit, NewConn, Replies, VirtualService,
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
}

/// What became of it here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adoption {
    /// It was opened.
    Opened,
    /// It was there, and has heard that it goes on, or ends.
    Known,
    /// There is no such service here, or it has no such server.
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
        let Foreign { flow, rip, state } = *foreign;
        let flags = flags_of(state);
        if let Some(hit) = self.conns.find(&flow) {
            if self.conns.conn(hit.conn).rip() == rip {
                self.conns.packet(hit, flags, self.now);
                return Adoption::Known;
            }
            // As the kernel's ip_vs_proc_conn: what the other says is newer.
            self.conns.retire(hit.conn);
        }
        if self.conns.owner(&flow).is_some() {
            // Another worker of ours has had packets of it.
            return Adoption::Known;
        }
        let Some(service) = service_of(self.snapshot, &flow) else {
            return Adoption::NoServer;
        };
        let is_it = |dest: &&Arc<Dest>| {
            let known = dest.rip();
            known.addr == rip.addr && (known.port == rip.port || known.port == 0)
        };
        let Some(dest) = service.dests().iter().find(is_it).cloned() else {
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
