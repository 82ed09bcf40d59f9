//! The thread that a worker lives on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use lb_runtime::Worker;
use lb_xsk::XskPort;
use rustix::thread::{
    CapabilitySet, CapabilitySets, CpuSet, sched_getaffinity, sched_setaffinity, set_capabilities,
};

use super::clock::Clock;

/// Lets `worker` take turns on a thread of its own until `stopping`, and gives it back: what others have handed to it
/// meanwhile is still there.
pub fn spawn(
    number: usize,
    mut worker: Worker<XskPort>,
    stopping: Arc<AtomicBool>,
) -> io::Result<JoinHandle<Worker<XskPort>>> {
    Builder::new()
        .name(format!("lb-worker-{number}"))
        .spawn(move || {
            pin(number);
            give_up_rights();
            let clock = Clock::new();
            while !stopping.load(Ordering::Relaxed) {
                if worker.turn(clock.now()).received == 0 {
                    worker.wait();
                }
            }
            worker
        })
}

/// A worker reads and writes what others have opened; whoever brings it to do something else with a packet shall not get
/// more than that.
fn give_up_rights() {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    if let Err(error) = set_capabilities(None, sets) {
        tracing::warn!("a worker keeps its rights: {error}");
    }
}

/// Keeps the calling thread on one of the CPUs that the process may use, a different one for each worker.
fn pin(number: usize) {
    let pinned = sched_getaffinity(None).and_then(|allowed| {
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|cpu| allowed.is_set(*cpu))
            .collect();
        let mut own = CpuSet::new();
        own.set(cpus[number % cpus.len()]);
        sched_setaffinity(None, &own)
    });
    if let Err(error) = pinned {
        tracing::warn!("worker {number} is not pinned to a CPU: {error}");
    }
}
