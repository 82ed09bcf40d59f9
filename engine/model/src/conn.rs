//! What names a conn, and the states it goes through.

use std::fmt;
use std::time::Duration;

use zerocopy::FromZeros;

use crate::Direction;

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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromZeros)]
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

    /// Whether the conn is still to be established: it has shown no more than that somebody sends SYNs.
    pub const fn is_half_open(self) -> bool {
        matches!(self.stage(), Stage::Opening)
    }

    /// How far the conn has come.
    pub const fn stage(self) -> Stage {
        match self {
            ConnState::None | ConnState::SynSent | ConnState::SynRecv | ConnState::SynAck => {
                Stage::Opening
            }
            ConnState::Established | ConnState::Listen | ConnState::Udp => Stage::Open,
            ConnState::FinWait
            | ConnState::TimeWait
            | ConnState::CloseWait
            | ConnState::LastAck => Stage::Ending,
            ConnState::Close => Stage::Closed,
        }
    }

    /// Whether the conn counts as active; UDP conns never do.
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            ConnState::Established | ConnState::SynSent | ConnState::SynRecv | ConnState::SynAck
        )
    }

    /// Whether a packet in this direction that leaves a conn in this state shows that the conn's server answers.
    #[inline(always)]
    pub fn is_answered_by(self, direction: Direction) -> bool {
        match self {
            ConnState::Established => true,
            ConnState::Udp => direction == Direction::Outbound,
            _ => false,
        }
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

/// How far a conn has come; no packet of it brings it back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// It is being established.
    Opening,
    /// It is established, or has no such thing.
    Open,
    /// One side at least has nothing more to say.
    Ending,
    /// It was reset, or refused.
    Closed,
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
