//! Random walks through the TCP states, those of one forwarding method after one another as they were recorded: the
//! conns that one walk leaves behind end during later ones, and their count falls there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::corpus;
use super::history::{Differs, History, Tally};
use super::lab::{CLIENT_SIDE, Lab, Outcome};
use super::segments::Service;

/// How long after a segment the recorder looked.
const LISTED_AFTER: Duration = Duration::from_millis(10);

#[derive(Deserialize)]
struct Walk {
    forward: String,
    client: SocketAddr,
    steps: Vec<Step>,
    /// Milliseconds between each step and the step before it (tests/golden/README.md says where these come from).
    ms: Vec<u64>,
}

/// A segment, what came out, the state then, the seconds that are left, and active and inactive conns since the walk's
/// start.
#[derive(Deserialize)]
struct Step(String, String, Option<String>, Option<u32>, i64, i64);

#[test]
fn every_walk() {
    let walks: Vec<Walk> = corpus::lines(&corpus::text("walks"));
    let mut tally = Tally::default();
    for walks in walks.chunk_by(|walk, next| walk.forward == next.forward) {
        let service = Service::of(&walks[0].forward);
        let mut lab = service.lab(BTreeMap::new());
        for walk in walks {
            let mut history = History::of(format!("{} {}", walk.forward, walk.client));
            if walk
                .replay(&service, &mut lab, &mut history, &mut tally)
                .is_err()
            {
                tally.differed(history);
            }
        }
    }
    tally.settle(1257, &[]);
}

impl Walk {
    fn replay(
        &self,
        service: &Service,
        lab: &mut Lab,
        history: &mut History,
        tally: &mut Tally,
    ) -> Result<(), Differs> {
        let start = service.counts(lab);
        for (step, ms) in self.steps.iter().zip(&self.ms) {
            lab.wait(Duration::from_millis(*ms).saturating_sub(LISTED_AFTER));
            let Step(segment, out, state, seconds, active, inactive) = step;
            let outcome = service.segment(lab, self.client, segment);
            lab.wait(LISTED_AFTER);
            let now = service.counts(lab);
            let since = |now: u32, start: u32| i64::from(now) - i64::from(start);
            let since = (since(now.0, start.0), since(now.1, start.1));
            let conn = lab.conns(|row| {
                let of_walk = row.client == self.client;
                // The kernel rounds a moment up that this clock does not.
                of_walk.then(|| format!("{} {}", row.state, row.expires_s + 1))
            });
            let out = match out.split_once(':') {
                // The recorder took the flags of a tunnelled segment from the wrong place.
                Some((side, _)) if self.forward == "tun" && side == "r" => {
                    segment.replace("c:", "r:")
                }
                _ => out.clone(),
            };
            let recorded = match (state, seconds) {
                (Some(state), Some(seconds)) => format!("{state} {seconds}"),
                _ => "none".to_owned(),
            };
            history.event(
                segment,
                format!("{out} {recorded} {active}/{inactive}"),
                format!(
                    "{} {} {}/{}",
                    came_out(&outcome, segment),
                    conn.first().map_or("none", String::as_str),
                    since.0,
                    since.1
                ),
            )?;
            tally.agreed();
        }
        Ok(())
    }
}

/// On which side something came out, and its flags: of what we sent, or of what a kernel makes of what it is left.
fn came_out(outcome: &Outcome, segment: &str) -> String {
    let (side, letters) = segment.split_once(':').expect("a side and flags");
    match (outcome.explanation.verdict, outcome.sent.first()) {
        ("tx", Some(sent)) => match sent.egress {
            CLIENT_SIDE => format!("c:{letters}"),
            _ => format!("r:{letters}"),
        },
        // A server's packet is routed; a client's is answered with RST, unless it is one.
        ("pass", _) if side == "s" => format!("c:{letters}"),
        ("pass", _) if letters.contains('R') => "none".to_owned(),
        ("pass", _) if letters.contains('A') => "c:R".to_owned(),
        ("pass", _) => "c:RA".to_owned(),
        _ => "none".to_owned(),
    }
}
