//! Which conns and templates are told of, and when.
//!
//! The kernel's rules (`ip_vs_sync_conn_needed`): TCP conns from when they are established on, others from their beginning;
//! each again when its state changes, and from time to time while it lives, so that its end at a backup does not come before
//! its own. The kernel counts packets for the latter (`sync_threshold`); a hit costs us nothing here, and it is a matter of time:
//! as with its `sync_refresh_period`, after half the time that the conn lives, or ten seconds if that is more.
//!
//! A template is told of when it is new or leads elsewhere, and again when it was used since, ten seconds later at the soonest.

use std::hash::Hash;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use lb_model::{ConnState, Endpoint, FlowKey, Time};

use crate::conn::SyncTemplateKey;

/// The shortest time between two tellings of what does not change.
const SHORTEST: Duration = Duration::from_secs(10);

/// What was told of each `K`, for as long as they are there: a `W`.
pub struct Telling<K, W> {
    told: HashMap<K, Told<W>, RandomState>,
    round: u32,
}

struct Told<W> {
    what: W,
    at: Time,
    round: u32,
}

impl<K, W> Default for Telling<K, W> {
    fn default() -> Telling<K, W> {
        Telling {
            told: HashMap::default(),
            round: 0,
        }
    }
}

impl Telling<FlowKey, ConnState> {
    /// Whether a conn that is met is to be told of, which lives for `timeout` without a packet. If so it counts as told.
    pub fn meet_conn(
        &mut self,
        flow: FlowKey,
        state: ConnState,
        timeout: Duration,
        now: Time,
    ) -> bool {
        let is_due = |told: &ConnState, ago| *told != state || ago >= (timeout / 2).max(SHORTEST);
        is_told(state) && self.meet(flow, state, is_due, now)
    }
}

/// What is told of a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TemplateUse {
    /// Where it leads.
    pub server: Endpoint,
    /// When it was last used.
    pub since: Time,
}

impl Telling<SyncTemplateKey, TemplateUse> {
    /// Whether a template that is met is to be told of. If so it counts as told.
    pub fn meet_template(&mut self, key: SyncTemplateKey, what: TemplateUse, now: Time) -> bool {
        let is_due = |told: &TemplateUse, ago| {
            told.server != what.server || (told.since != what.since && ago >= SHORTEST)
        };
        self.meet(key, what, is_due, now)
    }
}

impl<K: Eq + Hash, W> Telling<K, W> {
    /// A round begins, in which everything is met once.
    pub fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    fn meet(
        &mut self,
        key: K,
        what: W,
        is_due: impl FnOnce(&W, Duration) -> bool,
        now: Time,
    ) -> bool {
        let round = self.round;
        match self.told.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Told {
                    what,
                    at: now,
                    round,
                });
                true
            }
            Entry::Occupied(mut entry) => {
                let told = entry.get_mut();
                told.round = round;
                let is_due = is_due(&told.what, now.since(told.at));
                if is_due {
                    (told.what, told.at) = (what, now);
                }
                is_due
            }
        }
    }

    /// Something is met that cannot be told of now: it keeps its place, and its turn comes in another round.
    pub fn pass(&mut self, key: &K) {
        if let Some(told) = self.told.get_mut(key) {
            told.round = self.round;
        }
    }

    /// The round is over: what was not met has ended.
    pub fn end_round(&mut self) {
        let round = self.round;
        self.told.retain(|_, told| told.round == round);
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether none is known.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::AskedFor;
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
        let mut meet = |port, state: ConnState, seconds| {
            telling.meet_conn(flow(port), state, state.default_timeout(), at(seconds))
        };
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
            assert_eq!(meet(1, state, seconds), told, "{seconds} {state}");
        }
        assert!(meet(2, Udp, 0));
        assert!(!meet(2, Udp, 149));
        assert!(meet(2, Udp, 150));
    }

    /// `ipvsadm --set` may have made them live longer or shorter than a conn usually does.
    #[test]
    fn how_often_goes_by_the_time_outs_in_force() {
        let mut telling = Telling::default();
        let mut meet = |timeout, seconds| {
            let timeout = Duration::from_secs(timeout);
            telling.meet_conn(flow(1), ConnState::Established, timeout, at(seconds))
        };
        assert!(meet(60, 0));
        assert!(!meet(60, 29));
        assert!(meet(60, 30));
        assert!(!meet(7200, 3000));
        assert!(!meet(2, 39), "not at any price");
    }

    #[test]
    fn a_template_is_told_of_when_it_is_new_leads_elsewhere_or_was_used() {
        let end = |text: &str| text.parse::<Endpoint>().expect("an endpoint");
        let (first, second) = (end("10.1.0.11:80"), end("10.1.0.12:80"));
        let key = SyncTemplateKey {
            client: end("192.0.2.1:0").addr,
            asked_for: AskedFor::Mark(7),
        };
        let mut telling = Telling::default();
        for (seconds, server, since, told) in [
            (0, first, 0, true),
            (1, first, 1, false),
            (9, first, 9, false),
            (10, first, 9, true),
            (100, first, 9, false),
            (101, first, 101, true),
            (102, second, 102, true),
        ] {
            let what = TemplateUse {
                server,
                since: at(since),
            };
            assert_eq!(
                telling.meet_template(key, what, at(seconds)),
                told,
                "{seconds}"
            );
        }
    }

    #[test]
    fn conns_that_have_ended_are_forgotten() {
        let mut telling = Telling::default();
        let established = ConnState::Established;
        let meet = |telling: &mut Telling<_, _>, port, seconds| {
            telling.meet_conn(
                flow(port),
                established,
                established.default_timeout(),
                at(seconds),
            )
        };
        for conns in [&[1, 2, 3][..], &[2, 3], &[]] {
            telling.begin_round();
            for port in conns {
                meet(&mut telling, *port, 0);
            }
            telling.end_round();
            assert_eq!(telling.len(), conns.len());
        }
        telling.begin_round();
        assert!(meet(&mut telling, 2, 1), "as new");
        telling.begin_round();
        telling.pass(&flow(2));
        telling.pass(&flow(3));
        telling.end_round();
        assert_eq!(telling.len(), 1);
    }
}
