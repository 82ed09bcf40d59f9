//! The TCP state machine, one transition at a time: the state, its time-out, and how the conn counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use super::corpus;
use super::history::{Differs, History, Tally};
use super::lab::Lab;
use super::segments::Service;

/// Transitions during which a conn of one before them ended, so that the recorded count, from the start of the sequence,
/// is not that of its conn alone.
const BASE_MOVED: [usize; 10] = [84, 123, 127, 133, 145, 149, 152, 634, 642, 806];

/// The recorder looked so many seconds late at most; as a rule at once.
const LATE_S: u32 = 2;

/// A way to a state, an event there, and what comes of it.
#[derive(Deserialize)]
struct Cell {
    /// A time-out setting or a switch, unless it is "default".
    table: String,
    forward: String,
    /// Segments by side and flags, like `c:SA`.
    after: Vec<String>,
    /// What they led to; left out for UDP, which has one state.
    state: Option<String>,
    event: String,
    /// No conn, or its state.
    next: Option<String>,
    timeout: Option<u32>,
    active: Option<i32>,
    inactive: Option<i32>,
}

#[test]
fn every_transition() {
    let cells: Vec<Cell> = corpus::lines(&corpus::text("states"));
    let mut tally = Tally::default();
    for (place, cell) in cells.iter().enumerate() {
        let mut history = History::of(format!("{} {}", cell.table, cell.forward));
        let base_moved = BASE_MOVED.contains(&place);
        match cell.replay(base_moved, &mut history) {
            Ok(()) => tally.agreed(),
            Err(Differs) => tally.differed(history),
        }
    }
    tally.settle(1024, &[]);
}

impl Cell {
    fn replay(&self, base_moved: bool, history: &mut History) -> Result<(), Differs> {
        let client: SocketAddr = "5.6.7.8:2000".parse().expect("valid");
        let switch = self.table.split_once('=');
        let sysctl = switch.map(|(key, value)| (key.to_owned(), value.parse().expect("a number")));
        let service = Service::of(&self.forward);
        let mut lab = service.lab(BTreeMap::from_iter(sysctl));
        if let Some(timeouts) = self.table.strip_prefix("set ") {
            lab.command(&format!("--set {timeouts}"));
        }
        for segment in &self.after {
            service.segment(&mut lab, client, segment);
            history.note(segment);
        }
        if let Some(before) = &self.state {
            let here = state(&mut lab);
            let here = here.as_ref().map_or("none", |(state, _)| state);
            history.event("state", before, here)?;
        }
        service.segment(&mut lab, client, &self.event);
        let recorded = match (&self.next, self.timeout) {
            (Some(next), Some(timeout)) => format!("{next} {timeout}"),
            _ => "none".to_owned(),
        };
        let here = match (state(&mut lab), self.timeout) {
            (Some((state, left)), Some(timeout))
                if (timeout..=timeout + LATE_S).contains(&left) =>
            {
                format!("{state} {timeout}")
            }
            (Some((state, left)), _) => format!("{state} {left}"),
            (None, _) => "none".to_owned(),
        };
        history.event(&self.event, recorded, here)?;
        let recorded = (self.active.unwrap_or(0), self.inactive.unwrap_or(0));
        let (active, inactive) = service.counts(&mut lab);
        let agree = recorded == (active as i32, inactive as i32);
        assert!(
            agree || base_moved,
            "{} {} {:?} {}: {recorded:?}",
            self.table,
            self.forward,
            self.after,
            self.event
        );
        history.event("counts agree", !base_moved, agree)
    }
}

fn state(lab: &mut Lab) -> Option<(String, u32)> {
    lab.conns(|row| Some((row.state.to_string(), row.expires_s)))
        .pop()
}
