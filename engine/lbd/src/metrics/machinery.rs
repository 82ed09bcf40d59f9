//! How the daemon itself is: its workers, the sockets below them, its configuration.

use std::fmt::Error;
use std::time::Duration;

use lb::live::{RingStatistics, Sockets};
use lb::{Counter, Effort, Engine, TURN_BOUNDS};
use prometheus_client::encoding::DescriptorEncoder;

use super::table::{Distribution, Labels, counter, gauge, histogram, seconds};
use crate::reloads::Outcomes;

/// What each worker does.
pub fn workers(encoder: &mut DescriptorEncoder<'_>, engine: &Engine) -> Result<(), Error> {
    let efforts = engine.worker_efforts();
    let counters = engine.worker_counters();
    let labelled = |value: &dyn Fn(usize) -> u64| -> Vec<(Labels, u64)> {
        let all = 0..efforts.len().min(counters.len());
        all.map(|at| (label(at), value(at))).collect()
    };
    let entries = labelled(&|at| efforts[at].conns);
    gauge(
        encoder,
        ("lbd_conntable_entries", "Conns that a worker has"),
        entries,
    )?;
    let evicted = labelled(&|at| counters[at].of(Counter::ConnEvict));
    let help = "Half-open conns ended early, to make room";
    counter(encoder, ("lbd_conntable_evictions", help), evicted)?;
    let received = labelled(&|at| counters[at].of(Counter::Rx));
    let help = "Packets that a worker received";
    counter(encoder, ("lbd_worker_received_packets", help), received)?;
    let sent = labelled(&|at| counters[at].of(Counter::Tx));
    let help = "Packets that a worker sent";
    counter(encoder, ("lbd_worker_sent_packets", help), sent)?;
    let turns = labelled(&|at| efforts[at].turns);
    counter(encoder, ("lbd_worker_turns", "Turns of a worker"), turns)?;
    let batches = labelled(&|at| efforts[at].busy_turns);
    let help = "Turns of a worker that received something";
    counter(encoder, ("lbd_worker_batches", help), batches)?;
    let busy = efforts.iter().enumerate();
    let busy = busy.map(|(at, effort)| (label(at), effort.busy.as_secs_f64()));
    let help = "Time that a worker spent in those";
    seconds(encoder, ("lbd_worker_busy", help), busy)?;
    let lengths = efforts.iter().enumerate();
    let lengths = lengths.map(|(at, effort)| (label(at), lengths_of(effort)));
    let help = "How long turns took that received something";
    histogram(encoder, ("lbd_worker_turn", help), lengths)?;
    let longest = efforts.iter().enumerate();
    let longest = longest.map(|(at, effort)| (label(at), effort.longest.as_secs_f64()));
    let help = "The longest of them so far";
    gauge(encoder, ("lbd_worker_longest_turn_seconds", help), longest)?;
    let waited = labelled(&|at| counters[at].of(Counter::Held));
    let help = "Packets that had to wait for the MAC of their next hop";
    counter(encoder, ("lbd_worker_held_packets", help), waited)?;
    let held = labelled(&|at| efforts[at].held);
    let help = "Packets that wait for it now";
    gauge(encoder, ("lbd_worker_waiting_packets", help), held)
}

fn lengths_of(effort: &Effort) -> Distribution {
    let bounds = TURN_BOUNDS.iter().map(Duration::as_secs_f64);
    let bounds = bounds.chain([f64::INFINITY]);
    Distribution {
        sum: effort.busy.as_secs_f64(),
        counts: bounds.zip(effort.lengths).collect(),
    }
}

fn label(worker: usize) -> Labels {
    vec![("worker", worker.to_string())]
}

/// Names with their help, and where in the kernel's answer each is.
type RingMetric = ((&'static str, &'static str), fn(&RingStatistics) -> u64);

const RINGS: [RingMetric; 6] = [
    (
        (
            "lbd_port_rx_dropped",
            "Packets that the kernel dropped, but for a full ring",
        ),
        |rings| rings.rx_dropped,
    ),
    (
        (
            "lbd_port_rx_ring_full",
            "Packets that the kernel dropped because the RX ring was full",
        ),
        |rings| rings.rx_ring_full,
    ),
    (
        (
            "lbd_port_fill_ring_empty",
            "Times that the kernel found no frame to receive into",
        ),
        |rings| rings.fill_ring_empty,
    ),
    (
        (
            "lbd_port_rx_invalid",
            "Fill ring descriptors that the kernel refused",
        ),
        |rings| rings.rx_invalid,
    ),
    (
        (
            "lbd_port_tx_invalid",
            "TX ring descriptors that the kernel refused",
        ),
        |rings| rings.tx_invalid,
    ),
    (
        (
            "lbd_port_tx_ring_empty",
            "Times that the kernel found nothing to send",
        ),
        |rings| rings.tx_ring_empty,
    ),
];

/// What the kernel counts about each queue's socket.
pub fn sockets(encoder: &mut DescriptorEncoder<'_>, sockets: &Sockets) -> Result<(), Error> {
    let statistics = sockets.statistics();
    for (names, value) in RINGS {
        let series = statistics.iter().map(|(interface, queue, rings)| {
            let labels = vec![("port", interface.clone()), ("queue", queue.to_string())];
            (labels, value(rings))
        });
        counter(encoder, names, series)?;
    }
    Ok(())
}

/// How reloads went.
pub fn reloads(encoder: &mut DescriptorEncoder<'_>, outcomes: &Outcomes) -> Result<(), Error> {
    let results = [("applied", outcomes.applied), ("refused", outcomes.refused)];
    let results = results.map(|(result, value)| (vec![("result", result.to_owned())], value));
    counter(
        encoder,
        ("lbd_config_reloads", "Reloads by how they went"),
        results,
    )?;
    let last = [(Labels::new(), u64::from(outcomes.last_applied))];
    let help = "Whether the last reload was applied";
    gauge(encoder, ("lbd_config_last_reload_successful", help), last)?;
    let at = [(Labels::new(), outcomes.applied_at)];
    let help = "When a configuration was last applied";
    let name = "lbd_config_last_reload_success_timestamp_seconds";
    gauge(encoder, (name, help), at)
}
