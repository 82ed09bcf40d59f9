//! The last decisions about new conns, for whoever asks why a packet went where it went.

use lb_model::{DropReason, Endpoint, FlowKey, ServiceId, Time};

/// So many are remembered.
const REMEMBERED: usize = 256;

/// What was decided about the first packet of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// The packet's flow.
    pub flow: FlowKey,
    /// The service that it is addressed to.
    pub service: ServiceId,
    /// RIP:rport of the server that it goes to, or why to none.
    pub outcome: Result<Endpoint, DropReason>,
}

/// The last ones, in a ring.
pub struct Decisions {
    ring: Vec<Decision>,
    next: usize,
}

impl Decisions {
    pub(crate) fn new() -> Decisions {
        Decisions {
            ring: Vec::with_capacity(REMEMBERED),
            next: 0,
        }
    }

    pub(crate) fn note(&mut self, decision: Decision) {
        if self.ring.len() < REMEMBERED {
            self.ring.push(decision);
        } else {
            self.ring[self.next] = decision;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// The latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Decision> {
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        newer.iter().rev().chain(older.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{Protocol, ServiceKey};
    use std::time::Duration;

    #[test]
    fn the_oldest_make_room_for_the_latest() {
        let mut decisions = Decisions::new();
        assert_eq!(decisions.latest().count(), 0);
        for second in 0..1000 {
            decisions.note(Decision {
                at: Time::ZERO + Duration::from_secs(second),
                flow: FlowKey::UNKNOWN,
                service: ServiceKey {
                    vip: FlowKey::UNKNOWN.destination,
                    protocol: Protocol::Tcp,
                }
                .into(),
                outcome: Err(DropReason::NoDest),
            });
            let seconds: Vec<u64> = decisions
                .latest()
                .map(|decision| decision.at.since(Time::ZERO).as_secs())
                .collect();
            let expected: Vec<u64> = (0..=second).rev().take(REMEMBERED).collect();
            assert_eq!(seconds, expected);
        }
    }
}
