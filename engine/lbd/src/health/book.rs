//! What was found out about servers, for whoever asks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb::{Endpoint, ServiceId};
use lb_checks::{Found, State};

/// What was found out about servers, for whoever asks.
#[derive(Default)]
pub struct Book {
    /// All servers that are checked.
    pub servers: BTreeMap<(ServiceId, Endpoint), ServerEntry>,
    /// Whether each service has its quorum.
    pub quorums: BTreeMap<ServiceId, bool>,
    /// Processor time that the checks have taken.
    pub processor_time: Duration,
}

impl Book {
    /// What each server is taken for, as listings say it.
    pub fn states(&self) -> BTreeMap<(ServiceId, Endpoint), &'static str> {
        let servers = self.servers.iter();
        servers
            .map(|(of, entry)| (*of, entry.state_name()))
            .collect()
    }
}

/// What was found out about one server.
#[derive(Clone, Debug)]
pub struct ServerEntry {
    /// The kind of check, as the file names it.
    pub kind: &'static str,
    /// What it is taken for.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Whether it is getting its weight back step by step.
    pub starting: bool,
    /// Why the last answer was bad, if it was.
    pub failure: Option<String>,
    /// How long the last answer took; `None`: it has not been asked yet.
    pub took: Option<Duration>,
    /// Good answers.
    pub passed: u64,
    /// Bad ones.
    pub failed: u64,
    /// Times that its state changed.
    pub changes: u64,
}

impl ServerEntry {
    /// Nothing is known of it yet.
    pub fn new(kind: &'static str, state: State) -> ServerEntry {
        ServerEntry {
            kind,
            state,
            since: Instant::now(),
            starting: false,
            failure: None,
            took: None,
            passed: 0,
            failed: 0,
            changes: 0,
        }
    }

    /// As listings say it.
    pub fn state_name(&self) -> &'static str {
        match (self.state, self.starting) {
            (State::Up, false) => "up",
            (State::Up, true) => "starting",
            (State::Down, _) => "down",
        }
    }

    /// Another answer.
    pub fn note(&mut self, found: &Found) {
        match &found.answer {
            Ok(()) => self.passed += 1,
            Err(_) => self.failed += 1,
        }
        self.failure = found.answer.as_ref().err().map(ToString::to_string);
        self.took = Some(found.took);
        if found.changed {
            self.state = found.state;
            self.since = Instant::now();
            self.changes += 1;
        }
    }
}
