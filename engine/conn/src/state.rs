//! TCP as a balancer sees it: IPVS's state table and time-outs.
//!
//! The tables are kernel `net/netfilter/ipvs/ip_vs_proto_tcp.c`, `tcp_states` and `tcp_states_dos`: one part for packets
//! from the client where both directions pass through us, one for packets from the server, one for packets from the
//! client where the server's are never seen (DR, TUN, ENAT).

use std::time::Duration;

use lb_model::{ConnState, Direction};
use lb_wire::TcpFlags;

use ConnState::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// From each state, in [`ConnState::ALL`]'s order without UDP, to the next.
type Row = [ConnState; 11];

/// The rows of SYN, FIN, ACK and RST.
type Table = [Row; 4];

#[rustfmt::skip]
const INBOUND: Table = [
    //        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* fin */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
];

#[rustfmt::skip]
const OUTBOUND: Table = [
    //        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* syn */ [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    /* fin */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    /* rst */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const INBOUND_ONLY: Table = [
    //        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* fin */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

// Under `secure_tcp` a client's word alone establishes nothing where the server's can be heard.

#[rustfmt::skip]
const SECURE_INBOUND: Table = [
    //        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
    /* fin */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
    /* ack */ [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

#[rustfmt::skip]
const SECURE_OUTBOUND: Table = [
    //        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* syn */ [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
    /* fin */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    /* rst */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const SECURE_INBOUND_ONLY: Table = [
    //        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* syn */ [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
    /* fin */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

/// The state after a packet with these flags. `two_way` says whether the conn's replies pass through us, `secure` whether
/// the tables against floods of half-open conns hold (`net.ipv4.vs.secure_tcp`).
///
/// RST counts before SYN, SYN before FIN, FIN before ACK; a segment with none of them closes the conn. A UDP conn
/// stays what it is.
#[inline(always)]
pub fn next_state(
    state: ConnState,
    direction: Direction,
    flags: TcpFlags,
    two_way: bool,
    secure: bool,
) -> ConnState {
    // All six tables agree about what nearly every packet is.
    let is_usual = state == ConnState::Established && flags.acknowledge_only();
    if state == ConnState::Udp || is_usual {
        return state;
    }
    next_by_table(state, direction, flags, two_way, secure)
}

fn next_by_table(
    state: ConnState,
    direction: Direction,
    flags: TcpFlags,
    two_way: bool,
    secure: bool,
) -> ConnState {
    let row = if flags.has(TcpFlags::RST) {
        3
    } else if flags.has(TcpFlags::SYN) {
        0
    } else if flags.has(TcpFlags::FIN) {
        1
    } else if flags.has(TcpFlags::ACK) {
        2
    } else {
        return ConnState::Close;
    };
    let table = match (direction, two_way, secure) {
        (Direction::Outbound, _, false) => &OUTBOUND,
        (Direction::Inbound, true, false) => &INBOUND,
        (Direction::Inbound, false, false) => &INBOUND_ONLY,
        (Direction::Outbound, _, true) => &SECURE_OUTBOUND,
        (Direction::Inbound, true, true) => &SECURE_INBOUND,
        (Direction::Inbound, false, true) => &SECURE_INBOUND_ONLY,
    };
    table[row][state as usize]
}

/// How long a conn lives without a packet, by its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts([Duration; ConnState::ALL.len()]);

impl Timeouts {
    /// These, but for `timeout` in `state`.
    #[must_use]
    pub fn with(mut self, state: ConnState, timeout: Duration) -> Timeouts {
        self.0[state as usize] = timeout;
        self
    }

    /// The time-out in `state`.
    pub fn of(&self, state: ConnState) -> Duration {
        self.0[state as usize]
    }
}

impl Default for Timeouts {
    /// IPVS's.
    fn default() -> Timeouts {
        Timeouts(ConnState::ALL.map(ConnState::default_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Inbound, Outbound};

    const S: TcpFlags = TcpFlags::SYN;
    const A: TcpFlags = TcpFlags::ACK;
    const F: TcpFlags = TcpFlags::FIN;
    const R: TcpFlags = TcpFlags::RST;

    fn walk(two_way: bool, segments: &[(Direction, TcpFlags)]) -> ConnState {
        segments
            .iter()
            .fold(ConnState::None, |state, (direction, flags)| {
                next_state(state, *direction, *flags, two_way, false)
            })
    }

    #[test]
    fn a_handshake_establishes_in_both_kinds_of_mode() {
        assert_eq!(
            walk(true, &[(Inbound, S), (Outbound, S.with(A)), (Inbound, A)]),
            ES
        );
        assert_eq!(walk(false, &[(Inbound, S), (Inbound, A)]), ES);
    }

    #[test]
    fn a_close_is_time_wait_where_both_sides_are_seen_and_fin_wait_where_one_is() {
        let open = [(Inbound, S), (Inbound, A), (Inbound, F.with(A))];
        assert_eq!(walk(true, &open), CW);
        assert_eq!(
            walk(true, &[&open[..], &[(Outbound, F.with(A))]].concat()),
            TW
        );
        assert_eq!(walk(false, &open), FW);
    }

    #[test]
    fn a_flooder_establishes_nothing_where_the_server_is_heard() {
        let acknowledged = |secure| {
            let open = next_state(ConnState::None, Inbound, S, true, secure);
            next_state(open, Inbound, A, true, secure)
        };
        assert_eq!((acknowledged(false), acknowledged(true)), (ES, SR));
    }

    #[test]
    fn a_reset_closes_but_not_a_half_open_conn() {
        assert_eq!(walk(true, &[(Inbound, S), (Inbound, R)]), SR);
        assert_eq!(
            walk(true, &[(Inbound, S), (Inbound, A), (Inbound, R.with(A))]),
            CL
        );
        assert_eq!(
            walk(true, &[(Inbound, S), (Inbound, TcpFlags::default())]),
            CL
        );
    }
}
