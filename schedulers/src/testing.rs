//! A service on one worker, as tests of schedulers see it.

use std::sync::Arc;
use std::time::Duration;

use lb_model::{
    Dest, Dests, Endpoint, FlowKey, Protocol, Request, Scheduler, SchedulerKind, Thresholds, Time,
};

use crate::SchedulerOptions;

/// Servers 10.1.0.1:80, 10.1.0.2:80, ... in list order.
pub fn dests(weights: &[u32]) -> Vec<Arc<Dest>> {
    let rip = |i: u32| Endpoint::new(lb_model::Addr::v4((0x0a01_0000 | i).to_be_bytes()), 80);
    (1..)
        .zip(weights)
        .map(|(i, weight)| Arc::new(Dest::new(rip(i), *weight)))
        .collect()
}

/// Opens so many conns on `dest`.
pub fn conns(dest: &Dest, active: usize, inactive: usize) {
    (0..active).for_each(|_| dest.conn_opened(true));
    (0..inactive).for_each(|_| dest.conn_opened(false));
}

/// Makes `dest` overloaded, with its active conns as they are.
pub fn overload(dest: &Dest) {
    dest.set_thresholds(Thresholds { upper: 1, lower: 0 });
    dest.conn_opened(false);
    assert!(dest.is_overloaded());
}

/// A service on one worker.
pub struct Service {
    pub dests: Dests,
    kind: Arc<dyn SchedulerKind>,
    scheduler: Box<dyn Scheduler>,
    now: Time,
}

impl Service {
    pub fn of(scheduler: &str, weights: &[u32]) -> Service {
        Service::with(scheduler, weights, &SchedulerOptions::default())
    }

    pub fn with(scheduler: &str, weights: &[u32], options: &SchedulerOptions) -> Service {
        let builtin = crate::builtin().into_iter();
        let (_, make) = builtin
            .into_iter()
            .find(|(name, _)| *name == scheduler)
            .expect("a scheduler's name");
        let kind = make(options);
        let mut service = Service {
            dests: Dests::new(dests(weights), &*kind),
            scheduler: kind.worker(),
            kind,
            now: Time::ZERO,
        };
        service.edit(|_| ());
        service
    }

    /// Edits servers.
    pub fn edit(&mut self, edit: impl Fn(&[Arc<Dest>])) {
        self.replace(|dests| edit(dests));
    }

    /// Adds or removes servers.
    pub fn replace<T>(&mut self, change: impl FnOnce(&mut Vec<Arc<Dest>>) -> T) -> T {
        let mut list = self.dests.to_vec();
        let result = change(&mut list);
        self.dests = Dests::new(list, &*self.kind);
        self.scheduler.dests_changed(&self.dests, self.now);
        result
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    pub fn choice_for(&mut self, client: &str, vip: &str) -> Option<usize> {
        let flow = FlowKey {
            source: client.parse().expect("a client"),
            destination: vip.parse().expect("a VIP"),
            protocol: Protocol::Tcp,
        };
        let request = Request {
            flow: &flow,
            now: self.now,
        };
        let copy = self.scheduler.copy_for(&request);
        let foreseen = copy
            .expect("ours can be copied")
            .schedule(&request, &self.dests);
        let choice = self.scheduler.schedule(&request, &self.dests);
        assert_eq!(foreseen, choice, "a copy knows what will be chosen");
        choice
    }

    pub fn choice(&mut self) -> Option<usize> {
        self.choice_for("192.0.2.1:4000", "198.51.100.1:80")
    }

    pub fn choices(&mut self, count: usize) -> Vec<Option<usize>> {
        (0..count).map(|_| self.choice()).collect()
    }

    /// The choices for so many clients.
    pub fn clients(&mut self, count: u32) -> Vec<Option<usize>> {
        (0..count)
            .map(|i| {
                let client = std::net::Ipv4Addr::from(0xc000_0200 + i * 7919);
                self.choice_for(&format!("{client}:4000"), "198.51.100.1:80")
            })
            .collect()
    }
}
