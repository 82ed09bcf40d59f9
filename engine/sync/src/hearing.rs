//! What was heard of others' conns and templates: which are others' business to tell of, and which messages are old.
//!
//! Messages carry neither a number nor a time. Over one network one overtakes another by milliseconds, while a master that
//! tells of another connection between the same ends does so a second later: so what is heard of a conn's beginning just
//! after its end is an old message, and a new conn if it is heard later.

use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{FlowKey, Stage, Time};

use crate::conn::{SyncConn, SyncTemplateKey};

/// A message is not overtaken by one that was sent later than this after it.
const OVERTAKEN: Duration = Duration::from_millis(500);

/// How often what has ended is looked for.
const TIDIED: Duration = Duration::from_secs(60);

/// What a message about a conn is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// The conn is new to us, or goes on.
    Further,
    /// The conn has come further by a message that overtook this one.
    Old,
    /// It is another connection between the ends of one that has ended.
    Anew,
}

/// All that was heard and has not ended since.
#[derive(Default)]
pub struct Hearing {
    conns: HashMap<FlowKey, Heard, RandomState>,
    /// Until when each is there.
    templates: HashMap<SyncTemplateKey, Time, RandomState>,
    tidied: Time,
}

struct Heard {
    stage: Stage,
    at: Time,
    until: Time,
}

impl Hearing {
    /// Somebody tells of a conn.
    pub fn hear_conn(&mut self, conn: &SyncConn, now: Time) -> News {
        self.tidy(now);
        let state = conn.state.conn_state(conn.protocol);
        let stage = state.stage();
        let heard = Heard {
            stage,
            at: now,
            until: now + lifetime(conn.timeout_s, state.default_timeout()),
        };
        match self.conns.get_mut(&conn.flow()) {
            None => {
                self.conns.insert(conn.flow(), heard);
                News::Further
            }
            Some(before) if stage >= before.stage => {
                *before = heard;
                News::Further
            }
            Some(before) if now.since(before.at) < OVERTAKEN => News::Old,
            Some(before) => {
                *before = heard;
                News::Anew
            }
        }
    }

    /// Somebody tells of a template.
    pub fn hear_template(&mut self, key: SyncTemplateKey, timeout_s: u32, now: Time) {
        /// Of a service that does not say how long.
        const PERSISTENCE: Duration = Duration::from_secs(360);
        self.tidy(now);
        let until = now + lifetime(timeout_s, PERSISTENCE);
        self.templates.insert(key, until);
    }

    /// Whether somebody else tells of this conn: were it told of in turn, two balancers would keep each other's conns alive
    /// for ever.
    pub fn has_conn(&self, flow: &FlowKey, now: Time) -> bool {
        self.conns.get(flow).is_some_and(|heard| now < heard.until)
    }

    /// Whether somebody else tells of this template.
    pub fn has_template(&self, key: &SyncTemplateKey, now: Time) -> bool {
        self.templates.get(key).is_some_and(|until| now < *until)
    }

    /// Nobody is listened to any more: everything is ours.
    pub fn forget(&mut self) {
        self.conns.clear();
        self.templates.clear();
    }

    fn tidy(&mut self, now: Time) {
        if now.since(self.tidied) >= TIDIED {
            self.conns.retain(|_, heard| now < heard.until);
            self.templates.retain(|_, until| now < *until);
            self.tidied = now;
        }
    }
}

/// For how long something is somebody else's that lives so long without a packet: it is told of again after half of that, and
/// one such message may be lost.
fn lifetime(timeout_s: u32, usual: Duration) -> Duration {
    let timeout = match timeout_s {
        0 => usual,
        seconds => Duration::from_secs(seconds.into()),
    };
    2 * timeout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::{AskedFor, State};
    use News::*;
    use lb_model::ConnState::*;
    use lb_model::{ConnState, Protocol};

    fn conn(state: ConnState, timeout_s: u32) -> SyncConn {
        let end = |text: &str| text.parse().expect("an endpoint");
        SyncConn {
            protocol: match state {
                Udp => Protocol::Udp,
                _ => Protocol::Tcp,
            },
            flags: 0,
            state: State::of(state),
            client: end("192.0.2.1:4000"),
            vip: end("10.0.0.100:80"),
            server: end("10.1.0.11:80"),
            mark: 0,
            timeout_s,
        }
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn old_messages_and_new_connections_are_told_apart() {
        type Messages = &'static [(u64, ConnState, News)];
        let cases: &[(&str, Messages)] = &[
            (
                "in order",
                &[
                    (0, Established, Further),
                    (1000, FinWait, Further),
                    (2000, TimeWait, Further),
                    (3000, Close, Further),
                ],
            ),
            (
                "twice",
                &[
                    (0, Established, Further),
                    (1, Established, Further),
                    (1000, Close, Further),
                    (1001, Close, Further),
                ],
            ),
            (
                "overtaken",
                &[
                    (0, FinWait, Further),
                    (3, Established, Old),
                    (5, Close, Further),
                    (6, FinWait, Old),
                    (7, Established, Old),
                ],
            ),
            (
                "overtaken more than once",
                &[
                    (0, FinWait, Further),
                    (400, Established, Old),
                    (499, Established, Old),
                ],
            ),
            (
                "the client has taken its port again",
                &[
                    (0, Established, Further),
                    (1000, TimeWait, Further),
                    (2000, Established, Anew),
                    (2001, Established, Further),
                    (3000, FinWait, Further),
                ],
            ),
            ("no end", &[(0, Udp, Further), (1, Udp, Further)]),
        ];
        for (name, messages) in cases {
            let mut hearing = Hearing::default();
            for (millis, state, expected) in *messages {
                let news = hearing.hear_conn(&conn(*state, 900), at(*millis));
                assert_eq!(news, *expected, "{name}: {millis} {state}");
            }
        }
    }

    #[test]
    fn what_others_tell_of_is_theirs_for_twice_its_time() {
        for (state, timeout_s, seconds) in [
            (Established, 900, 1800),
            (Established, 7200, 14_400),
            (Udp, 0, 600),
        ] {
            let mut hearing = Hearing::default();
            let conn = conn(state, timeout_s);
            hearing.hear_conn(&conn, at(0));
            assert!(hearing.has_conn(&conn.flow(), at(1000 * seconds - 1)));
            assert!(!hearing.has_conn(&conn.flow(), at(1000 * seconds)));
        }
        let mut hearing = Hearing::default();
        let key = SyncTemplateKey {
            client: conn(Udp, 0).client.addr,
            asked_for: AskedFor::Mark(7),
        };
        hearing.hear_template(key, 60, at(0));
        assert!(hearing.has_template(&key, at(119_999)));
        assert!(!hearing.has_template(&key, at(120_000)));
        hearing.hear_template(key, 60, at(120_000));
        hearing.forget();
        assert!(!hearing.has_template(&key, at(120_001)));
    }

    #[test]
    fn what_has_ended_takes_no_room() {
        let mut hearing = Hearing::default();
        hearing.hear_conn(&conn(Close, 10), at(100_000));
        hearing.hear_conn(&conn(Udp, 300), at(200_000));
        assert_eq!(hearing.conns.len(), 1);
    }
}
