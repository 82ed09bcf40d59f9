//! Asks all servers side by side, each on its own beat, and says what it finds.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_model::{Endpoint, ServiceId, ServiceKey};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::probe::Tools;
use crate::{Check, Failure, Judge, State, Way};

/// A server of a service, and how it is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The service.
    pub service: ServiceId,
    /// The server.
    pub server: Endpoint,
    /// Which of its checks this is, from 0.
    pub part: usize,
    /// What it is taken for if it is new.
    pub initial: State,
    /// How it is checked.
    pub check: Arc<Check>,
    /// How clients' packets get there.
    pub way: Way,
}

impl Target {
    fn is_asked_as(&self, other: &Target) -> bool {
        (&self.check, self.way) == (&other.check, other.way)
    }

    /// Where the question goes.
    pub fn address(&self) -> SocketAddr {
        let Endpoint { addr, port } = self.server;
        SocketAddr::new(addr.into(), self.check.port.unwrap_or(port))
    }

    /// Where clients' packets go, if all go to one address.
    pub fn vip(&self) -> Option<SocketAddr> {
        let ServiceId::Address(ServiceKey { vip, .. }) = self.service else {
            return None;
        };
        let port = self.check.port.unwrap_or(vip.port);
        Some(SocketAddr::new(vip.addr.into(), port))
    }
}

/// One answer, and what follows from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The service.
    pub service: ServiceId,
    /// The server.
    pub server: Endpoint,
    /// Which of its checks this is.
    pub part: usize,
    /// The answer.
    pub answer: Result<(), Failure>,
    /// How long it took.
    pub took: Duration,
    /// What the server is taken for now, by all of its checks.
    pub state: State,
}

/// Asks servers for as long as it lives; needs a runtime of tokio with time and I/O.
pub struct Watcher {
    watched: HashMap<Place, Watched>,
    tools: Arc<Tools>,
    answers: (UnboundedSender<Answer>, UnboundedReceiver<Answer>),
    begun: Instant,
    spread: RandomState,
    asked: u64,
}

/// A service, one of its servers, and one of that server's checks.
type Place = (ServiceId, Endpoint, usize);

struct Watched {
    target: Target,
    judge: Judge,
    number: u64,
    task: AbortHandle,
}

struct Answer {
    of: Place,
    number: u64,
    answer: Result<(), Failure>,
    took: Duration,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watcher {
    /// Asks nobody yet.
    pub fn new() -> Watcher {
        Watcher {
            watched: HashMap::new(),
            tools: Arc::default(),
            answers: unbounded_channel(),
            begun: Instant::now(),
            spread: RandomState::new(),
            asked: 0,
        }
    }

    /// Time by its own clock, which begins with it.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Asks these from now on and no others. Who was asked before stays what it is taken for, also if it is asked
    /// something else now; and if it is asked the same, its beat goes on.
    pub fn watch(&mut self, targets: Vec<Target>) {
        let mut before = std::mem::take(&mut self.watched);
        for target in targets {
            let of = (target.service, target.server, target.part);
            let known = before.remove(&of);
            let watched = match known {
                Some(known) if known.target.is_asked_as(&target) => known,
                known => {
                    let judge = known.map(|known| Judge::new(known.judge.state()));
                    self.begin(target, judge)
                }
            };
            self.watched.insert(of, watched);
        }
    }

    /// What a server is taken for, which is good if all of its checks say so; `None`: it is asked nothing.
    pub fn state(&self, service: ServiceId, server: Endpoint) -> Option<State> {
        let parts = (0..).map_while(|part| self.watched.get(&(service, server, part)));
        let states = parts.map(|watched| watched.judge.state());
        states.reduce(|all, one| match all {
            State::Up => one,
            State::Down => State::Down,
        })
    }

    /// Waits for the next answer. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Found {
        loop {
            let answer = self.answers.1.recv().await;
            let answer = answer.expect("we hold a sender ourselves");
            let now = self.now();
            // Of a server that is not asked any more, or is asked something else by now.
            let Some(watched) = self.watched.get_mut(&answer.of) else {
                continue;
            };
            if watched.number != answer.number {
                continue;
            }
            let good = answer.answer.is_ok();
            watched.judge.answered(good, now, &watched.target.check);
            let (service, server, part) = answer.of;
            return Found {
                service,
                server,
                part,
                answer: answer.answer,
                took: answer.took,
                state: self
                    .state(service, server)
                    .expect("one of its checks is watched"),
            };
        }
    }

    fn begin(&mut self, target: Target, judge: Option<Judge>) -> Watched {
        self.asked += 1;
        let number = self.asked;
        let task = tokio::spawn(ask(
            target.clone(),
            number,
            self.first_after(&target),
            Arc::clone(&self.tools),
            self.answers.0.clone(),
        ));
        Watched {
            judge: judge.unwrap_or_else(|| Judge::new(target.initial)),
            target,
            number,
            task: task.abort_handle(),
        }
    }

    /// Somewhere within the first interval, so that the servers of a farm are not all asked at once.
    fn first_after(&self, target: &Target) -> Duration {
        let place = self
            .spread
            .hash_one((target.service, target.server, target.part)) as u32;
        target
            .check
            .interval
            .mul_f64(f64::from(place) / f64::from(u32::MAX))
    }
}

impl Default for Watcher {
    fn default() -> Watcher {
        Watcher::new()
    }
}

async fn ask(
    target: Target,
    number: u64,
    first_after: Duration,
    tools: Arc<Tools>,
    answers: UnboundedSender<Answer>,
) {
    let check = Arc::clone(&target.check);
    let mut beat = interval_at(Instant::now() + first_after, check.interval);
    // After a long answer the next question waits for its whole interval: nobody is asked twice at once.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let asked = Instant::now();
        let answer = timeout(check.timeout, tools.ask(&target)).await;
        let answer = Answer {
            of: (target.service, target.server, target.part),
            number,
            answer: answer.unwrap_or_else(|_| tools.silence(&target)),
            took: asked.elapsed(),
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}
