//! Which conns are told of, and when.
//!
//! The kernel's rules (`ip_vs_sync_conn_needed`): TCP conns from when they are established on, others from their beginning;
//! each again when its state changes, and from time to time while it lives, so that its end at a backup does not come before
//! its own. The kernel counts packets for the latter (`sync_threshold`); a hit costs us nothing here, and it is a matter of time:
//! as with its `sync_refresh_period`, after half the time that the state lives, or ten seconds if that is more.

use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use lb_model::{ConnState, FlowKey, Time};

/// The shortest time between two tellings of a conn that does not change.
const SHORTEST: Duration = Duration::from_secs(10);

/// What was told, for as long as the conns are there.
#[derive(Default)]
pub struct Telling {
    told: HashMap<FlowKey, Told, RandomState>,
    round: u32,
}

struct Told {
    state: ConnState,
    at: Time,
    round: u32,
}

impl Telling {
    /// A round begins, in which every conn is met once.
    pub fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Whether a conn that is met is to be told of. If so it counts as told.
    pub fn meet(&mut self, flow: FlowKey, state: ConnState, now: Time) -> bool {
        if !is_told(state) {
            return false;
        }
        let round = self.round;
        match self.told.entry(flow) {
            Entry::Vacant(entry) => {
                entry.insert(Told {
                    state,
                    at: now,
                    round,
                });
                true
            }
            Entry::Occupied(mut entry) => {
                let told = entry.get_mut();
                told.round = round;
                let is_due = now.since(told.at) >= refresh(state);
                let is_news = told.state != state || is_due;
                if is_news {
                    (told.state, told.at) = (state, now);
                }
                is_news
            }
        }
    }

    /// A conn is met that cannot be told of now: it keeps its place, and its turn comes in another round.
    pub fn pass(&mut self, flow: &FlowKey) {
        if let Some(told) = self.told.get_mut(flow) {
            told.round = self.round;
        }
    }

    /// The round is over: conns that were not met have ended.
    pub fn end_round(&mut self) {
        let round = self.round;
        self.told.retain(|_, told| told.round == round);
    }

    /// How many conns are known.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether no conn is known.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

fn is_told(state: ConnState) -> bool {
    matches!(
        state,
        ConnState::Established
            | ConnState::FinWait
            | ConnState::Close
            | ConnState::CloseWait
            | ConnState::TimeWait
            | ConnState::Udp
    )
}

fn refresh(state: ConnState) -> Duration {
    (state.default_timeout() / 2).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::Protocol;

    fn flow(port: u16) -> FlowKey {
        let end = |text: &str| text.parse().expect("an endpoint");
        FlowKey {
            source: end(&format!("192.0.2.1:{port}")),
            destination: end("10.0.0.100:80"),
            protocol: Protocol::Tcp,
        }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_conn_is_told_of_once_established_when_it_changes_and_now_and_then() {
        use ConnState::*;
        let mut telling = Telling::default();
        telling.begin_round();
        for (seconds, state, told) in [
            (0, SynRecv, false),
            (1, Established, true),
            (2, Established, false),
            (450, Established, false),
            (451, Established, true),
            (452, FinWait, true),
            (453, FinWait, false),
            (454, LastAck, false),
            (455, TimeWait, true),
            (456, Established, true),
        ] {
            assert_eq!(
                telling.meet(flow(1), state, at(seconds)),
                told,
                "{seconds} {state}"
            );
        }
        assert!(telling.meet(flow(2), Udp, at(0)));
        assert!(!telling.meet(flow(2), Udp, at(149)));
        assert!(telling.meet(flow(2), Udp, at(150)));
    }

    #[test]
    fn conns_that_have_ended_are_forgotten() {
        let mut telling = Telling::default();
        for conns in [&[1, 2, 3][..], &[2, 3], &[]] {
            telling.begin_round();
            for port in conns {
                telling.meet(flow(*port), ConnState::Established, at(0));
            }
            telling.end_round();
            assert_eq!(telling.len(), conns.len());
        }
        telling.begin_round();
        assert!(
            telling.meet(flow(2), ConnState::Established, at(1)),
            "as new"
        );
        telling.begin_round();
        telling.pass(&flow(2));
        telling.pass(&flow(3));
        telling.end_round();
        assert_eq!(telling.len(), 1);
    }
}
