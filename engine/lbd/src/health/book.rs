//! What was found out about servers, for whoever asks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb::{Conduct, Endpoint, ServiceId};
use lb_checks::{Found, State};

/// What was found out about servers, for whoever asks.
#[derive(Clone, Default)]
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
    /// What it is taken for.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Whether it is getting its weight back step by step.
    pub starting: bool,
    /// Why the last answers were bad that were, by their checks.
    pub failures: BTreeMap<usize, String>,
    /// Why it is suspected, if it is.
    pub suspicion: Option<String>,
    /// What its clients' packets have shown, where they are judged.
    pub conduct: Option<Conduct>,
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
    pub fn new(state: State) -> ServerEntry {
        ServerEntry {
            state,
            since: Instant::now(),
            starting: false,
            failures: BTreeMap::new(),
            suspicion: None,
            conduct: None,
            took: None,
            passed: 0,
            failed: 0,
            changes: 0,
        }
    }

    /// As listings say it.
    pub fn state_name(&self) -> &'static str {
        match (self.state, self.starting, &self.suspicion) {
            (State::Down, ..) => "down",
            (State::Up, true, _) => "starting",
            (State::Up, false, Some(_)) => "suspect",
            (State::Up, false, None) => "up",
        }
    }

    /// Why the last answers were bad that were.
    pub fn failure(&self) -> Option<String> {
        let failures: Vec<&str> = self.failures.values().map(String::as_str).collect();
        (!failures.is_empty()).then(|| failures.join("; "))
    }

    /// Another answer; what was bad about it is `failure`.
    pub fn note(&mut self, found: &Found, failure: Option<&str>) {
        match failure {
            None => {
                self.passed += 1;
                self.failures.remove(&found.part);
            }
            Some(failure) => {
                self.failed += 1;
                self.failures.insert(found.part, failure.to_owned());
            }
        }
        self.took = Some(found.took);
    }

    /// What it is taken for from now on.
    pub fn turn(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.since = Instant::now();
            self.changes += 1;
        }
    }
}
