//! Stage 1: from the port into the batch.

use lb_model::Port;

use crate::counters::Counter;
use crate::worker::Worker;

pub fn run<P: Port>(worker: &mut Worker<P>) {
    worker.port.receive(&mut worker.batch);
    let bytes: usize = worker
        .batch
        .packets()
        .iter()
        .map(|packet| packet.frame.len())
        .sum();
    worker
        .counters
        .count(Counter::Rx, worker.batch.len() as u64);
    worker.counters.count(Counter::RxBytes, bytes as u64);
}
