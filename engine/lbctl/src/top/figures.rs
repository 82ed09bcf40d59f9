//! What `top` shows: the daemon's counts, and how fast they grow.

use std::time::Instant;

use lb_control::{Counter, Service, Status};

use crate::client::{Client, Error};

/// The daemon's counts at one moment, and how they have grown since another.
#[derive(Clone, Debug)]
pub struct Figures {
    pub status: Status,
    pub services: Vec<Service>,
    counters: Vec<Counter>,
    taken: Instant,
    /// The counters before, and how many seconds ago.
    before: Option<(Vec<Counter>, f64)>,
}

impl Figures {
    /// The counts now.
    pub fn ask(client: &Client) -> Result<Figures, Error> {
        Ok(Figures {
            status: client.get("/v1/status")?,
            services: client.get("/v1/services")?,
            counters: client.get("/v1/counters")?,
            taken: Instant::now(),
            before: None,
        })
    }

    /// With what has grown since `before`.
    pub fn after(self, before: &Figures) -> Figures {
        let seconds = self.taken.duration_since(before.taken).as_secs_f64();
        // A daemon that was started anew counts from 0.
        let same = self.status.pid == before.status.pid;
        Figures {
            before: same.then(|| (before.counters.clone(), seconds)),
            ..self
        }
    }

    /// Made from counts, as of `seconds` after others.
    #[cfg(test)]
    pub fn of(
        status: Status,
        services: Vec<Service>,
        counters: Vec<Counter>,
        before: Vec<Counter>,
        seconds: f64,
    ) -> Figures {
        Figures {
            status,
            services,
            counters,
            taken: Instant::now(),
            before: Some((before, seconds)),
        }
    }

    /// How much a counter grew per second.
    pub fn rate(&self, name: &str) -> u64 {
        self.growth(name, |counter| counter.value)
    }

    /// How much a worker's counter grew per second.
    pub fn worker_rate(&self, name: &str, worker: usize) -> u64 {
        self.growth(name, |counter| {
            counter.workers.get(worker).copied().unwrap_or(0)
        })
    }

    /// Reasons for not forwarding that have occurred: name, meaning, count, per second.
    pub fn reasons(&self) -> Vec<(&str, &str, u64, u64)> {
        let reasons = self.counters.iter().filter(|counter| counter.value > 0);
        reasons
            .filter_map(|counter| {
                let meaning = counter.meaning.as_deref()?;
                let name = counter.name.as_str();
                Some((name, meaning, counter.value, self.rate(name)))
            })
            .collect()
    }

    fn growth(&self, name: &str, value: impl Fn(&Counter) -> u64) -> u64 {
        let of = |counters: &[Counter]| counters.iter().find(|c| c.name == name).map(&value);
        let Some((before, seconds)) = &self.before else {
            return 0;
        };
        let grown = of(&self.counters)
            .unwrap_or(0)
            .saturating_sub(of(before).unwrap_or(0));
        (grown as f64 / seconds.max(0.001)) as u64
    }
}
