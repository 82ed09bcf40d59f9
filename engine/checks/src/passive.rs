//! Servers that are suspected by what their clients' packets show, and how much of their weight they keep.
//!
//! ```text
//! at the end of each window, of each server's conns whose SYN was answered or not within it:
//!     too large a share unanswered or reset   suspected: it keeps `keeps` percent of its weight,
//!                                             unless too much of the service's weight would be taken
//!     otherwise                               a suspect keeps twice as much as before, up to all of it
//! ```
//!
//! Whom too few conns went to is not suspected; a suspect that has few, for it has little weight, is judged by those.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lb_model::{Conduct, Endpoint};

/// What makes servers suspect, and what becomes of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passive {
    /// From one judgement to the next.
    pub window: Duration,
    /// Percent of a window's conns: so many without an answer to their SYN are too many. 0: any are well.
    pub unanswered: u32,
    /// Percent of a window's conns: so many resets are too many. 0: any are well.
    pub resets: u32,
    /// Conns of a window below which it says nothing.
    pub least_conns: u32,
    /// Percent of its weight that a suspect keeps.
    pub keeps: u32,
    /// Percent of the service's weight that may be taken from all its suspects together: less than `100 - keeps`, so that
    /// they are never all suspects.
    pub most_taken: u32,
}

impl Default for Passive {
    fn default() -> Passive {
        Passive {
            window: Duration::from_secs(10),
            unanswered: 30,
            resets: 50,
            least_conns: 20,
            keeps: 20,
            most_taken: 50,
        }
    }
}

/// A server that is to be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witnessed {
    /// RIP:rport.
    pub server: Endpoint,
    /// The weight that it was given.
    pub weight: u32,
    /// All that it has ever shown.
    pub conduct: Conduct,
}

/// What is wrong with a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// What it showed within the window.
    pub conduct: Conduct,
    /// The window.
    pub window: Duration,
    /// Whether it is the resets that are too many.
    pub resets: bool,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conduct {
            answered,
            unanswered,
            resets,
        } = self.conduct;
        let conns = answered + unanswered;
        match self.resets {
            false => write!(
                f,
                "{unanswered} of {conns} connections of the last {:?} got no SYN-ACK",
                self.window
            ),
            true => write!(
                f,
                "{resets} resets and {conns} connections in the last {:?}",
                self.window
            ),
        }
    }
}

/// What a window has led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The server's share of its weight falls to so many percent.
    Lowered(Endpoint, u32, Evidence),
    /// It deserves that, but enough is taken from others already.
    Spared(Endpoint, Evidence),
    /// It has all of its weight again.
    Restored(Endpoint),
}

/// The servers of one service.
#[derive(Clone, Debug, Default)]
pub struct Suspicion {
    servers: BTreeMap<Endpoint, Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    /// All that it had shown at the end of the last window.
    seen: Conduct,
    /// Percent.
    share: u32,
    evidence: Option<Evidence>,
    spared: bool,
}

/// One server of a window that is over.
struct Case {
    server: Endpoint,
    weight: u64,
    evidence: Option<Evidence>,
    /// In a thousand.
    guilt: u64,
}

impl Suspicion {
    /// The percentage of its weight that a suspect keeps; `None`: it is no suspect.
    pub fn share(&self, server: Endpoint) -> Option<u32> {
        let watched = self.servers.get(&server)?;
        (watched.share < 100).then_some(watched.share)
    }

    /// Why a server is suspected.
    pub fn evidence(&self, server: Endpoint) -> Option<&Evidence> {
        self.servers.get(&server)?.evidence.as_ref()
    }

    /// Judges the servers that serve, at the end of a window; others are forgotten.
    pub fn judge(&mut self, passive: &Passive, servers: &[Witnessed]) -> Vec<Change> {
        let mut before = std::mem::take(&mut self.servers);
        let mut cases = Vec::new();
        for witnessed in servers {
            let fresh = || Watched {
                seen: witnessed.conduct,
                share: 100,
                evidence: None,
                spared: false,
            };
            let mut watched = before.remove(&witnessed.server).unwrap_or_else(fresh);
            let shown = grown(witnessed.conduct, watched.seen);
            watched.seen = witnessed.conduct;
            let (evidence, guilt) = passive.accuse(shown, watched.share < 100);
            cases.push(Case {
                server: witnessed.server,
                weight: witnessed.weight.into(),
                evidence,
                guilt,
            });
            self.servers.insert(witnessed.server, watched);
        }
        self.sentence(passive, cases)
    }

    fn sentence(&mut self, passive: &Passive, mut cases: Vec<Case>) -> Vec<Change> {
        // Who is suspected stays it before others, so that suspicion does not wander among servers that are all bad.
        let order = |case: &Case| (self.servers[&case.server].share == 100, Reverse(case.guilt));
        cases.sort_by_key(order);
        let whole: u64 = cases.iter().map(|case| case.weight).sum();
        let mut left = whole * u64::from(passive.most_taken);
        let mut changes = Vec::new();
        for case in cases {
            let Some(watched) = self.servers.get_mut(&case.server) else {
                continue;
            };
            let before = watched.share;
            let mut wanted = match case.evidence {
                Some(_) => passive.keeps,
                None => (before * 2).min(100),
            };
            let taken = |share: u32| case.weight * u64::from(100 - share);
            let spared = case.evidence.is_some() && taken(wanted) > left;
            if taken(wanted) > left {
                wanted = 100;
            }
            left -= taken(wanted);
            watched.share = wanted;
            let was_spared = std::mem::replace(&mut watched.spared, spared);
            if wanted == 100 {
                watched.evidence = None;
                if before < 100 {
                    changes.push(Change::Restored(case.server));
                }
            }
            let Some(evidence) = case.evidence else {
                continue;
            };
            if spared {
                if !was_spared {
                    changes.push(Change::Spared(case.server, evidence));
                }
                continue;
            }
            if wanted < before {
                changes.push(Change::Lowered(case.server, wanted, evidence.clone()));
            }
            watched.evidence = Some(evidence);
        }
        changes
    }
}

impl Passive {
    /// What is wrong with a server that has shown this within a window, and how much so.
    fn accuse(&self, shown: Conduct, suspected: bool) -> (Option<Evidence>, u64) {
        let conns = shown.answered + shown.unanswered;
        let enough = match suspected {
            true => 1,
            false => u64::from(self.least_conns),
        };
        // Resets of older conns may be more than conns of this window.
        let judged = conns.max(shown.resets);
        if judged < enough {
            return (None, 0);
        }
        let too_many = |number: u64, percent: u32| {
            percent > 0 && number > 0 && number * 100 >= judged * u64::from(percent)
        };
        let silent = too_many(shown.unanswered, self.unanswered);
        let resetting = too_many(shown.resets, self.resets);
        let evidence = (silent || resetting).then_some(Evidence {
            conduct: shown,
            window: self.window,
            resets: !silent,
        });
        let worst = shown.unanswered.max(shown.resets);
        (evidence, worst * 1000 / judged.max(1))
    }
}

/// What was shown since; all of it if the server is another of the same name, whose numbers have begun anew.
fn grown(now: Conduct, seen: Conduct) -> Conduct {
    let goes_on = now.answered >= seen.answered
        && now.unanswered >= seen.unanswered
        && now.resets >= seen.resets;
    if goes_on { now - seen } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u8) -> Endpoint {
        format!("10.0.0.{number}:80").parse().expect("valid")
    }

    /// Windows, each with what servers 1, 2 and so on of this weight show in it (answered, unanswered, resets), and what
    /// percentage of their weights they keep after it.
    type Window<'a> = &'a [((u64, u64, u64), u32)];

    #[track_caller]
    fn check(passive: &Passive, weight: u32, windows: &[Window<'_>]) -> Vec<Vec<Change>> {
        let mut suspicion = Suspicion::default();
        let mut totals = vec![Conduct::default(); windows[0].len()];
        let witnessed = |totals: &[Conduct]| {
            let servers = totals.iter().zip(1..);
            let one = |(conduct, number): (&Conduct, u8)| Witnessed {
                server: server(number),
                weight,
                conduct: *conduct,
            };
            servers.map(one).collect::<Vec<_>>()
        };
        assert_eq!(suspicion.judge(passive, &witnessed(&totals)), []);
        let mut told = Vec::new();
        for (at, window) in windows.iter().enumerate() {
            for (total, ((answered, unanswered, resets), _)) in totals.iter_mut().zip(*window) {
                *total = *total
                    + Conduct {
                        answered: *answered,
                        unanswered: *unanswered,
                        resets: *resets,
                    };
            }
            told.push(suspicion.judge(passive, &witnessed(&totals)));
            let shares: Vec<u32> = (1..=window.len() as u8)
                .map(|number| suspicion.share(server(number)).unwrap_or(100))
                .collect();
            let expected: Vec<u32> = window.iter().map(|(_, share)| *share).collect();
            assert_eq!(shares, expected, "after window {at}");
        }
        told
    }

    const WELL: (u64, u64, u64) = (40, 0, 0);
    const DEAD: (u64, u64, u64) = (3, 37, 0);
    const QUIET: (u64, u64, u64) = (0, 0, 0);

    #[test]
    fn a_silent_server_loses_most_of_its_weight_and_gets_it_back_by_and_by() {
        let told = check(
            &Passive::default(),
            100,
            &[
                &[(WELL, 100), (WELL, 100), (WELL, 100)],
                &[(DEAD, 20), (WELL, 100), (WELL, 100)],
                // Eight conns are enough to keep a suspect.
                &[((0, 8, 0), 20), (WELL, 100), (WELL, 100)],
                &[((8, 0, 0), 40), (WELL, 100), (WELL, 100)],
                &[((16, 1, 0), 80), (WELL, 100), (WELL, 100)],
                &[(WELL, 100), (WELL, 100), (WELL, 100)],
                &[(WELL, 100), (WELL, 100), (WELL, 100)],
            ],
        );
        let numbers: Vec<usize> = told.iter().map(Vec::len).collect();
        assert_eq!(numbers, [0, 1, 0, 0, 0, 1, 0]);
        let Change::Lowered(who, 20, evidence) = &told[1][0] else {
            panic!("{told:?}");
        };
        assert_eq!(
            (*who, evidence.to_string()),
            (
                server(1),
                "37 of 40 connections of the last 10s got no SYN-ACK".to_owned()
            )
        );
        assert_eq!(told[5], [Change::Restored(server(1))]);
    }

    #[test]
    fn a_suspect_that_falls_back_loses_its_weight_again() {
        let told = check(
            &Passive::default(),
            100,
            &[
                &[(DEAD, 20), (WELL, 100)],
                &[((5, 0, 0), 40), (WELL, 100)],
                &[((0, 5, 0), 20), (WELL, 100)],
                // Nobody asks it: time heals.
                &[(QUIET, 40), (WELL, 100)],
                &[(QUIET, 80), (WELL, 100)],
                &[(QUIET, 100), (WELL, 100)],
                // Too few to begin with.
                &[((0, 19, 0), 100), (WELL, 100)],
            ],
        );
        let lowered = |change: &Change| matches!(change, Change::Lowered(..));
        assert_eq!(told.concat().iter().filter(|c| lowered(c)).count(), 2);
    }

    #[test]
    fn resets_count_against_the_conns_of_their_window() {
        let told = check(
            &Passive::default(),
            100,
            &[
                &[((40, 0, 19), 100), (WELL, 100)],
                &[((40, 0, 20), 20), (WELL, 100)],
                &[((40, 0, 0), 40), (WELL, 100)],
                // All of the conns that it had, and nobody came.
                &[((0, 0, 50), 20), (WELL, 100)],
            ],
        );
        let Change::Lowered(_, _, evidence) = &told[1][0] else {
            panic!("{told:?}");
        };
        assert_eq!(
            evidence.to_string(),
            "20 resets and 40 connections in the last 10s"
        );
    }

    #[test]
    fn never_is_more_than_a_share_of_the_services_weight_taken() {
        // One of two and one of three, the worst first; a server alone never.
        let told = check(
            &Passive::default(),
            10,
            &[
                &[((20, 20, 0), 100), (DEAD, 20)],
                &[(DEAD, 100), ((5, 5, 0), 20)],
                // The suspect is well: now the other's turn has come. It may not take what a recovering one still lacks.
                &[(DEAD, 100), ((10, 0, 0), 40)],
                &[(DEAD, 20), ((10, 0, 0), 80)],
            ],
        );
        assert!(matches!(
            told[0][..],
            [Change::Lowered(..), Change::Spared(..)]
        ));
        assert_eq!(told[1], [], "it was said");
        check(
            &Passive::default(),
            1000,
            &[&[(DEAD, 20), (DEAD, 100), (DEAD, 100)]],
        );
        check(&Passive::default(), 100, &[&[(DEAD, 100)]]);
        let most = Passive {
            most_taken: 79,
            ..Passive::default()
        };
        check(&most, 1, &[&[(DEAD, 20), (DEAD, 20), (DEAD, 100)]]);
    }

    #[test]
    fn either_kind_of_sign_can_be_let_pass() {
        let blind = Passive {
            unanswered: 0,
            resets: 0,
            ..Passive::default()
        };
        check(&blind, 100, &[&[((0, 40, 40), 100), (WELL, 100)]]);
    }

    #[test]
    fn a_server_that_is_new_under_its_name_is_judged_by_what_it_has_shown() {
        let passive = Passive::default();
        let mut suspicion = Suspicion::default();
        let mut judge = |answered, unanswered| {
            let conduct = Conduct {
                answered,
                unanswered,
                resets: 0,
            };
            let one = Witnessed {
                server: server(1),
                weight: 10,
                conduct,
            };
            let other = Witnessed {
                server: server(2),
                conduct: Conduct::default(),
                ..one
            };
            suspicion.judge(&passive, &[one, other]).len()
        };
        // What it showed before somebody watched says nothing about the first window.
        assert_eq!(judge(0, 500), 0);
        assert_eq!(judge(1000, 510), 0);
        assert_eq!(judge(0, 30), 1);
    }
}
