//! The thread that a worker lives on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use lb_runtime::Worker;
use lb_xsk::XskPort;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

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
            let clock = Clock::new();
            while !stopping.load(Ordering::Relaxed) {
                if worker.turn(clock.now()).received == 0 {
                    worker.wait();
                }
            }
            worker
        })
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
