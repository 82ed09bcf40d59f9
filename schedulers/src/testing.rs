//! A service on one worker, as tests of schedulers see it, and what a kernel chose.

use std::collections::HashMap;
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
        self.scheduler.schedule(&request, &self.dests)
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

/// Compares with what Linux 6.1 chose: `tests/data/NAME.txt`, whose lines are
///
/// ```text
/// service VIP [fallback] [port]                 a new service
/// add RIP WEIGHT [UPPER LOWER]                  a server; one that was there before comes back with its conns
/// edit RIP WEIGHT [UPPER LOWER]
/// remove RIP
/// active CLIENT RIP|- [DESTINATION]             a conn opened and got this server, or none
/// inactive CLIENT RIP|- [DESTINATION]           one that does not count as active: UDP
/// idle CLIENT                                   it is inactive now
/// ```
pub fn golden(scheduler: &str) {
    let path = format!("{}/tests/data/{scheduler}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("golden data");
    let mut replay = Replay {
        scheduler,
        service: Service::of(scheduler, &[]),
        vip: "",
        servers: HashMap::new(),
        conns: HashMap::new(),
    };
    let mut choices = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split(' ').collect();
        if let Some(chosen) = replay.event(&words) {
            assert_eq!(chosen, words[2], "{path}:{number}: {line}");
            choices += 1;
        }
    }
    assert!(choices > 20, "{path}: only {choices} choices");
}

struct Replay<'a> {
    scheduler: &'a str,
    service: Service,
    vip: &'a str,
    servers: HashMap<Endpoint, Arc<Dest>>,
    conns: HashMap<&'a str, (Arc<Dest>, bool)>,
}

impl<'a> Replay<'a> {
    /// The server chosen, if one was asked for.
    fn event(&mut self, words: &[&'a str]) -> Option<String> {
        match words[0] {
            "service" => {
                let options = SchedulerOptions {
                    fallback: words.contains(&"fallback"),
                    port: words.contains(&"port"),
                    ..SchedulerOptions::default()
                };
                self.service = Service::with(self.scheduler, &[], &options);
                self.vip = words[1];
                self.servers.clear();
                self.conns.clear();
            }
            "add" => {
                let (rip, weight, thresholds) = server(words);
                let dest = self.servers.entry(rip);
                let dest = dest.or_insert_with(|| Arc::new(Dest::new(rip, weight)));
                dest.added_again(weight, thresholds);
                self.service
                    .replace(|dests| dests.insert(0, Arc::clone(dest)));
            }
            "edit" => {
                let (rip, weight, thresholds) = server(words);
                self.servers[&rip].set_weight(weight);
                self.servers[&rip].set_thresholds(thresholds);
                self.service.edit(|_| ());
            }
            "remove" => {
                let rip: Endpoint = words[1].parse().expect("RIP:rport");
                self.service
                    .replace(|dests| dests.retain(|dest| dest.rip() != rip));
            }
            "active" | "inactive" => {
                let vip = words.get(3).unwrap_or(&self.vip);
                let Some(at) = self.service.choice_for(words[1], vip) else {
                    return Some("-".into());
                };
                let dest = Arc::clone(&self.service.dests[at]);
                let active = words[0] == "active";
                dest.conn_opened(active);
                let rip = dest.rip().to_string();
                // A conn that makes way for its successor counts until that has its server.
                if let Some((dest, active)) = self.conns.insert(words[1], (dest, active)) {
                    dest.conn_ended(active);
                }
                return Some(rip);
            }
            "idle" => {
                let (dest, active) = self.conns.get_mut(words[1]).expect("a conn");
                dest.conn_became(false);
                *active = false;
            }
            other => panic!("no such event: {other}"),
        }
        None
    }
}

fn server(words: &[&str]) -> (Endpoint, u32, Thresholds) {
    let number = |at: usize| words.get(at).map_or(0, |n| n.parse().expect("a number"));
    let thresholds = Thresholds {
        upper: number(3),
        lower: number(4),
    };
    let rip = words[1].parse().expect("RIP:rport");
    (rip, words[2].parse().expect("a weight"), thresholds)
}
