//! Stage 1: from other workers and from the port into the batch.

use lb_conn::prefetch;
use lb_model::{BATCH, Port};

use crate::counters::Counter;
use crate::worker::Worker;

pub fn run<P: Port>(worker: &mut Worker<P>) {
    // Neither starves the other: whoever has less to bring leaves the rest of the batch.
    let taken = take(worker, BATCH / 2);
    worker.port.receive(&mut worker.batch);
    let received = &worker.batch.packets()[taken..];
    let mut bytes = 0;
    for packet in received {
        bytes += packet.frame.len();
        // Another CPU wrote it, be it in a device's interrupt.
        if let Some(first) = packet.frame.first() {
            prefetch(first);
        }
    }
    let packets = received.len();
    worker.counters.count(Counter::Rx, packets as u64);
    worker.counters.count(Counter::RxBytes, bytes as u64);
    let more = take(worker, worker.batch.room());
    worker
        .counters
        .count(Counter::TakenOver, (taken + more) as u64);
}

fn take<P: Port>(worker: &mut Worker<P>, limit: usize) -> usize {
    let (batch, port) = (&mut worker.batch, &mut worker.port);
    worker.crew.take(batch, limit, port, &mut worker.fragments)
}
