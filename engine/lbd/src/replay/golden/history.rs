//! What was recorded and what happened here, side by side.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// As many events before the first difference are shown.
const SHOWN: usize = 25;

/// The events of one scenario, to the first difference.
pub struct History {
    scenario: String,
    rows: Vec<Row>,
}

/// What happened is not what was recorded; the history shows it.
pub struct Differs;

struct Row {
    event: String,
    recorded: String,
    here: String,
}

impl History {
    pub fn of(scenario: impl Into<String>) -> History {
        History {
            scenario: scenario.into(),
            rows: Vec::new(),
        }
    }

    /// Adds an event, which both should agree about.
    pub fn event(
        &mut self,
        event: impl fmt::Display,
        recorded: impl fmt::Display,
        here: impl fmt::Display,
    ) -> Result<(), Differs> {
        let row = Row {
            event: event.to_string(),
            recorded: recorded.to_string(),
            here: here.to_string(),
        };
        let agree = row.recorded == row.here;
        self.rows.push(row);
        if agree { Ok(()) } else { Err(Differs) }
    }

    /// Adds something that is not compared.
    pub fn note(&mut self, event: impl fmt::Display) {
        self.rows.push(Row {
            event: event.to_string(),
            recorded: String::new(),
            here: String::new(),
        });
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.rows.len().saturating_sub(SHOWN);
        writeln!(f, "{}, from event {from}:", self.scenario)?;
        for Row {
            event,
            recorded,
            here,
        } in &self.rows[from..]
        {
            match recorded == here {
                true => writeln!(f, "    {event:60} {recorded}")?,
                false => writeln!(f, "  ! {event}\n      IPVS: {recorded}\n      here: {here}")?,
            }
        }
        Ok(())
    }
}

/// Counts what agreed, and keeps what did not.
#[derive(Default)]
pub struct Tally {
    agreed: usize,
    excused: BTreeSet<&'static str>,
    differing: Vec<History>,
}

impl Tally {
    /// One more event agreed.
    pub fn agreed(&mut self) {
        self.agreed += 1;
    }

    /// A named exception was made.
    pub fn excused(&mut self, exception: &'static str) {
        self.excused.insert(exception);
    }

    /// A scenario differed at the last of its events.
    pub fn differed(&mut self, history: History) {
        self.differing.push(history);
    }

    /// Fails if something differed, if an exception was not made, or if less was compared than there is.
    pub fn settle(self, events: usize, exceptions: &[&'static str]) {
        let mut report = String::new();
        for history in self.differing.iter().take(5) {
            writeln!(report, "{history}").expect("memory");
        }
        let names: Vec<&str> = self.differing.iter().map(|h| &*h.scenario).collect();
        assert!(
            names.is_empty(),
            "{} events agree; {} scenarios differ: {}\n\n{report}",
            self.agreed,
            names.len(),
            names.join(", ")
        );
        let exceptions = exceptions.iter().copied().collect();
        assert_eq!(
            (self.agreed, self.excused),
            (events, exceptions),
            "events compared, and exceptions made"
        );
    }
}
