//! What chooses the real server of a new conn.

use std::sync::Arc;

use crate::{Dest, FlowKey};

/// Chooses a real server for each new conn of one service, on one worker.
///
/// `dests` is always in IPVS's list order: the server added last comes first (kernel `ip_vs_add_dest` puts it at
/// the head of the list). Schedulers see flows and dests, never bytes.
pub trait Scheduler: Send {
    /// The position in `dests` of the server for a new conn of `flow`; `None` if no server takes new conns.
    fn schedule(&mut self, flow: &FlowKey, dests: &[Arc<Dest>]) -> Option<usize>;

    /// Told when the service's dests were added, removed or edited, before the next
    /// [`schedule`](Scheduler::schedule), and once at the start.
    fn dests_changed(&mut self, dests: &[Arc<Dest>]) {
        let _ = dests;
    }
}

/// Makes the scheduler of one service for one worker.
pub type SchedulerFactory = Arc<dyn Fn() -> Box<dyn Scheduler> + Send + Sync>;
