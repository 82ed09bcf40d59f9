//! One entry of a connection table, as modes and schedulers see it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Dest, Direction, Endpoint, FlowKey, Introduction, Replies};

/// A conn's place in its table; valid until the table is next expired.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId(pub u32);

/// The conn that a packet belongs to, and which way the packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The conn.
    pub conn: ConnId,
    /// The packet's direction.
    pub direction: Direction,
}

/// The state of a conn: TCP's as IPVS tracks it (kernel `net/netfilter/ipvs/ip_vs_proto_tcp.c`), or UDP's only one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // the names are TCP's
pub enum ConnState {
    None,
    Established,
    SynSent,
    SynRecv,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    SynAck,
    Udp,
}

impl ConnState {
    /// All states, in the order of IPVS's tables.
    pub const ALL: [ConnState; 12] = [
        ConnState::None,
        ConnState::Established,
        ConnState::SynSent,
        ConnState::SynRecv,
        ConnState::FinWait,
        ConnState::TimeWait,
        ConnState::Close,
        ConnState::CloseWait,
        ConnState::LastAck,
        ConnState::Listen,
        ConnState::SynAck,
        ConnState::Udp,
    ];

    /// Whether the conn counts as active; UDP conns never do.
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            ConnState::Established | ConnState::SynSent | ConnState::SynRecv | ConnState::SynAck
        )
    }

    /// How long a conn in this state lives without a packet, by IPVS's defaults.
    pub const fn default_timeout(self) -> Duration {
        Duration::from_secs(match self {
            ConnState::None => 2,
            ConnState::Established => 15 * 60,
            ConnState::SynSent
            | ConnState::FinWait
            | ConnState::TimeWait
            | ConnState::Listen
            | ConnState::SynAck => 120,
            ConnState::SynRecv | ConnState::CloseWait => 60,
            ConnState::Close => 10,
            ConnState::LastAck => 30,
            ConnState::Udp => 300,
        })
    }
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ConnState::None => "NONE",
            ConnState::Established => "ESTABLISHED",
            ConnState::SynSent => "SYN_SENT",
            ConnState::SynRecv => "SYN_RECV",
            ConnState::FinWait => "FIN_WAIT",
            ConnState::TimeWait => "TIME_WAIT",
            ConnState::Close => "CLOSE",
            ConnState::CloseWait => "CLOSE_WAIT",
            ConnState::LastAck => "LAST_ACK",
            ConnState::Listen => "LISTEN",
            ConnState::SynAck => "SYNACK",
            ConnState::Udp => "UDP",
        })
    }
}

/// What was decided when the conn was born, and holds until it ends.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Its inbound packets as received: CIP:cport to VIP:vport.
    pub flow: FlowKey,
    /// The server chosen by the scheduler.
    pub dest: Arc<Dest>,
    /// Where on the server its packets go: the server's own port, or the one the client asked for if the server has
    /// port 0.
    pub rip: Endpoint,
    /// LIP:lport in FNAT, VIP:lport in ENAT: the source that the server sees in place of the client, leased from the
    /// worker's ports until the conn ends.
    pub local: Option<Endpoint>,
    /// Which way its replies take.
    pub replies: Replies,
    /// How far its server has been told of its client; moves on as packets are rewritten.
    pub introduction: Cell<Introduction>,
    /// The mode it was opened with, by its number in the engine's registry.
    pub mode: u8,
}

impl Conn {
    /// What the server sees as the source of its packets.
    #[inline]
    pub fn source(&self) -> Endpoint {
        self.local.unwrap_or(self.flow.source)
    }

    /// Its outbound packets as received, if any are ours to receive.
    #[inline]
    pub fn reply(&self) -> Option<FlowKey> {
        (self.replies != Replies::Direct).then(|| FlowKey {
            source: self.rip,
            destination: self.source(),
            protocol: self.flow.protocol,
        })
    }
}
