//! What packets show of how a server treats its conns, where its packets pass through us.
//!
//! IPVS's states do not tell whether a server has answered a SYN, so a conn notes that it [owes](Owes) an answer. Each
//! conn that a SYN opens gives one sign about its SYN, and a conn that a server breaks off gives one more:
//!
//! ```text
//! SYN  -> ... server's packet           Answered
//!         ... server's RST              Refused
//!         ... SYN again, in due time    Unanswered
//!         ... the end of the conn       Unanswered
//! established ... server's RST          Reset
//! ```

use lb_model::{ConnState, Direction};
use lb_wire::TcpFlags;
use zerocopy::FromZeros;

/// What one conn showed of its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// The first SYN was answered.
    Answered,
    /// It was not, when its client asked again or the conn's time was over.
    Unanswered,
    /// It was answered with RST.
    Refused,
    /// The server broke an established conn off.
    Reset,
}

/// What servers have shown lately, by their slots.
pub struct Signs(Vec<(u32, Sign)>);

/// More than a batch and the conns that end in a turn can give.
const MOST: usize = 512;

impl Signs {
    /// Nothing yet.
    pub fn new() -> Signs {
        Signs(Vec::with_capacity(MOST))
    }

    /// Notes a sign. Where nobody asks, what is too much is forgotten.
    pub fn show(&mut self, slot: u32, sign: Sign) {
        if self.0.len() < MOST {
            self.0.push((slot, sign));
        }
    }

    /// All of it, which is forgotten.
    pub fn drain(&mut self) -> impl Iterator<Item = (u32, Sign)> {
        self.0.drain(..)
    }
}

/// What a server owes to the client of a conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromZeros)]
#[repr(u8)]
pub enum Owes {
    /// Nothing that we know of.
    Nothing,
    /// An answer to its SYN.
    Answer,
}

/// A client that asks again sooner does not say that it was not answered: TCP waits for a second (RFC 6298 section 2),
/// less what its timer and the way here may cut off. Otherwise a client could accuse servers by sending SYNs in pairs.
const SOONEST_REPEAT_MS: u32 = 500;

impl Owes {
    /// After the packet that opens a conn; `two_way` says whether the conn's replies pass through us.
    #[inline(always)]
    pub fn at_first(state: ConnState, flags: TcpFlags, two_way: bool) -> Owes {
        match two_way && state == ConnState::SynRecv && flags.has(TcpFlags::SYN) {
            true => Owes::Answer,
            false => Owes::Nothing,
        }
    }

    /// Notes a later packet, which comes `quiet_ms` after the one before it; what it shows. Kept apart from the
    /// code that all packets take.
    #[inline(never)]
    pub fn note(
        &mut self,
        before: ConnState,
        direction: Direction,
        flags: TcpFlags,
        quiet_ms: u32,
    ) -> Option<Sign> {
        let (syn, rst) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::RST));
        let (owes, sign) = match (*self, direction) {
            (Owes::Answer, Direction::Outbound) if rst => (Owes::Nothing, Some(Sign::Refused)),
            // Whatever it says, it has heard the client: an ACK alone is of a conn that it remembers.
            (Owes::Answer, Direction::Outbound) => (Owes::Nothing, Some(Sign::Answered)),
            (Owes::Answer, Direction::Inbound) if syn && !rst && quiet_ms >= SOONEST_REPEAT_MS => {
                (Owes::Nothing, Some(Sign::Unanswered))
            }
            (Owes::Answer, Direction::Inbound) if syn || rst => (Owes::Answer, None),
            // Its answer has not come through us, or the client makes it up.
            (Owes::Answer, Direction::Inbound) => (Owes::Nothing, None),
            (Owes::Nothing, Direction::Outbound) if rst && before == ConnState::Established => {
                (Owes::Nothing, Some(Sign::Reset))
            }
            (Owes::Nothing, _) => (Owes::Nothing, None),
        };
        *self = owes;
        sign
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next_state;

    /// What the segments of a conn show: `s` `a` `f` `r` are a client's SYN, ACK, FIN and RST, capitals a server's SYN-ACK
    /// and so on; `.` lets a second pass.
    fn signs(two_way: bool, segments: &str) -> Vec<Sign> {
        let (mut state, mut owes, mut quiet, mut seen) = (ConnState::None, None, 0, Vec::new());
        for letter in segments.chars() {
            let direction = match letter.is_uppercase() {
                true => Direction::Outbound,
                false => Direction::Inbound,
            };
            let flags = match letter {
                's' => TcpFlags::SYN,
                'S' => TcpFlags::SYN.with(TcpFlags::ACK),
                'a' | 'A' => TcpFlags::ACK,
                'f' | 'F' => TcpFlags::FIN.with(TcpFlags::ACK),
                'r' | 'R' => TcpFlags::RST,
                '.' => {
                    quiet += 1000;
                    continue;
                }
                other => panic!("{other}"),
            };
            let before = state;
            state = next_state(before, direction, flags, two_way, false);
            match &mut owes {
                None => owes = Some(Owes::at_first(state, flags, two_way)),
                Some(owes) => seen.extend(owes.note(before, direction, flags, quiet)),
            }
            quiet = 0;
        }
        seen
    }

    #[test]
    fn conns_and_what_they_show_of_their_servers() {
        use Sign::*;
        let cases: [(&str, &[Sign]); 16] = [
            ("s", &[]),
            ("sS", &[Answered]),
            ("sSaafAFa", &[Answered]),
            ("s.s", &[Unanswered]),
            // Once is enough, and late is late.
            ("s.s.s.s", &[Unanswered]),
            ("s.sSa", &[Unanswered]),
            // In pairs, or a packet that came twice on its way.
            ("ssS", &[Answered]),
            ("ss.s", &[Unanswered]),
            ("sR", &[Refused]),
            ("s.sR", &[Unanswered]),
            ("sA.rs", &[Answered]),
            // The client goes away before it is answered: that is still owed.
            ("srS", &[Answered]),
            ("saR", &[Reset]),
            ("sSaaR", &[Answered, Reset]),
            ("sSaRR", &[Answered, Reset]),
            // A client's end that the server does not wait for is nothing bad.
            ("sSafR", &[Answered]),
        ];
        for (segments, expected) in cases {
            assert_eq!(signs(true, segments), expected, "{segments}");
        }
        assert_eq!(signs(false, "s.s.s"), [], "its answers are not seen");
        assert_eq!(signs(true, "aR"), [Reset], "opened by no SYN");
    }
}
