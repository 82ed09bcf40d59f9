//! A balancer that nobody's time and traffic reach but what it is given: the real engine, one worker, a clock of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use lb::{Config, Engine, InterfaceId, Mac, Time, Worker};
use lb_ipvsadm::{NoNames, Streams};

use super::explain::Explanation;
use super::lbctl;
use super::port::ReplayPort;
use crate::administration::{Administration, ConnsOf};
use crate::sync_daemons::SyncDaemons;

/// How finely time passes where nothing happens but conns that end. The kernel's own tick is 1 to 10 ms, and its timers
/// are late by more.
const STEP: Duration = Duration::from_millis(20);

/// An engine with one worker and a virtual clock.
pub struct OfflineBalancer {
    engine: Engine,
    sync_daemons: SyncDaemons,
    worker: Worker<ReplayPort>,
    /// The interfaces' own addresses, where they are known.
    macs: Vec<Option<Mac>>,
    /// What the worker decided about the packet in its batch.
    decided: Arc<Mutex<Option<Explanation>>>,
    clock: Option<Time>,
    sent: VecDeque<Sent>,
}

/// A packet that was sent.
pub struct Sent {
    pub time: Time,
    pub egress: InterfaceId,
    pub bytes: Vec<u8>,
}

/// What a command came to.
pub struct Answer {
    /// Its exit code.
    pub code: u8,
    pub output: Vec<u8>,
    pub errors: Vec<u8>,
}

impl OfflineBalancer {
    /// Of `config`, which also says what a kernel would know of the network.
    pub fn new(config: &Config) -> anyhow::Result<OfflineBalancer> {
        let mut unlimited = config.clone();
        // There is nobody to be spared from too many errors.
        unlimited.ipvs.icmp_msgs_per_sec = 0;
        let engine = Engine::new(&unlimited).or_else(refused)?;
        engine.set_next_hops(config.next_hops().or_else(refused)?);
        let mut worker = engine.worker(ReplayPort::new());
        let decided: Arc<Mutex<Option<Explanation>>> = Arc::default();
        let slot = Arc::clone(&decided);
        worker.observe(Box::new(move |observed: &lb::Observed<'_>| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Explanation::of(observed));
        }));
        let known = &config.network.interfaces;
        let mac_of = |name: &String| Some(known.iter().find(|known| known.name == *name)?.mac);
        Ok(OfflineBalancer {
            macs: config.engine.interfaces.iter().map(mac_of).collect(),
            engine,
            sync_daemons: SyncDaemons::default(),
            worker,
            decided,
            clock: None,
            sent: VecDeque::new(),
        })
    }

    /// Lets time pass to `to`, a step at a time as long as there are conns whose time-outs may be over on the way.
    ///
    /// Time never goes back: what comes with an earlier time stamp happens at the latest time seen.
    pub fn pass_time(&mut self, to: Time) {
        let mut now = self.clock.unwrap_or(to);
        while now < to {
            now = (now + STEP).min(to);
            if self.worker.conns().is_quiet() {
                now = to;
            }
            self.clock = Some(now);
            self.turn();
        }
        self.clock = Some(now);
    }

    /// Lets a packet come in, and the worker deal with it.
    pub fn packet(&mut self, ingress: InterfaceId, bytes: &[u8]) -> Explanation {
        if !self.is_for_us(ingress, bytes) {
            // As the XDP program does in front of a live engine.
            return Explanation::left_alone();
        }
        if !self.worker.port_mut().deliver(ingress, bytes) {
            return Explanation::too_long();
        }
        self.worker.turn(self.now());
        self.collect_sent();
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        decided.take().unwrap_or_else(Explanation::too_long)
    }

    /// Executes a command.
    pub fn command(&mut self, words: &[impl AsRef<str>]) -> anyhow::Result<Answer> {
        self.turn();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        if let Some(done) = lbctl::run(&words, &self.engine) {
            self.turn();
            let (code, output, errors) = match done {
                Ok(output) => (0, output, String::new()),
                Err(error) => (1, String::new(), format!("{error:#}")),
            };
            return Ok(Answer {
                code,
                output: output.into(),
                errors: errors.into(),
            });
        }
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            input: &mut io::empty(),
            output: &mut output,
            errors: &mut errors,
        };
        let code = self.administer(|ipvs| lb_ipvsadm::run(&words, ipvs, &NoNames, &mut streams))?;
        // Each edit is seen for itself, as by a kernel.
        self.turn();
        Ok(Answer {
            code,
            output,
            errors,
        })
    }

    /// Lets an administrator look at things and change them.
    pub fn administer<T>(&self, work: impl FnOnce(&mut Administration<'_>) -> T) -> T {
        let conns = ConnsOf {
            worker: &self.worker,
            now: self.now(),
        };
        work(&mut Administration::new(
            &self.engine,
            &conns,
            &self.sync_daemons,
        ))
    }

    /// The first packet sent that was not taken yet.
    pub fn take_sent(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    fn now(&self) -> Time {
        self.clock.unwrap_or(Time::ZERO)
    }

    /// Turns until nothing more falls due.
    fn turn(&mut self) {
        let now = self.now();
        while self.worker.turn(now).expired > 0 {}
        self.engine.estimate(now);
        self.collect_sent();
    }

    fn collect_sent(&mut self) {
        let time = self.now();
        while let Some((egress, bytes)) = self.worker.port_mut().take_sent() {
            self.sent.push_back(Sent {
                time,
                egress,
                bytes,
            });
        }
    }

    /// Whether a frame is addressed to the interface it came in on: what goes to a group is the kernel's.
    fn is_for_us(&self, ingress: InterfaceId, frame: &[u8]) -> bool {
        let own = self.macs[usize::from(ingress.0)];
        own.is_none_or(|own| frame.starts_with(&own.0))
    }
}

pub fn refused<T>(errors: Vec<lb::ConfigError>) -> anyhow::Result<T> {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    bail!("{}", errors.join("\n"))
}
