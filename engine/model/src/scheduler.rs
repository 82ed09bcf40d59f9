//! What chooses the real server of a new conn.

use std::sync::Arc;

use crate::{Dest, Dests, FlowKey, Prepared, Time};

/// A new conn that needs a server.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its first packet: from the client to the service.
    pub flow: &'a FlowKey,
    /// When the packet came.
    pub now: Time,
}

/// Chooses a real server for each new conn of one service, on one worker.
///
/// Schedulers see flows and dests, never bytes.
pub trait Scheduler: Send {
    /// The position in `dests` of the server for a new conn; `None` if no server takes new conns.
    fn schedule(&mut self, request: &Request<'_>, dests: &Dests) -> Option<usize>;

    /// Told when one of the service's dests was added, removed or edited, before the next
    /// [`schedule`](Scheduler::schedule), and once at the start.
    fn dests_changed(&mut self, dests: &Dests, now: Time) {
        let _ = (dests, now);
    }

    /// A copy, to be asked what this one would do without its noticing; `None` from one that cannot be copied in no time.
    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        None
    }

    /// A copy that need only be right about this request, from one that remembers more than can be copied in no time.
    fn copy_for(&self, request: &Request<'_>) -> Option<Box<dyn Scheduler>> {
        let _ = request;
        self.copy()
    }
}

/// What a scheduler's name stands for: makes the scheduler of one service for each worker.
///
/// A closure that returns a boxed scheduler is one.
pub trait SchedulerKind: Send + Sync {
    /// A scheduler for one worker.
    fn worker(&self) -> Box<dyn Scheduler>;

    /// What all workers' schedulers will find in [`Dests::prepared`]: a table that takes long to build is built here,
    /// off the packet path, whenever a dest was added, removed or edited.
    fn prepare(&self, dests: &[Arc<Dest>]) -> Option<Prepared> {
        let _ = dests;
        None
    }
}

impl<F: Fn() -> Box<dyn Scheduler> + Send + Sync> SchedulerKind for F {
    fn worker(&self) -> Box<dyn Scheduler> {
        self()
    }
}
