//! Health checks in figures.

use std::fmt;
use std::sync::Arc;

use lb::Conduct;
use lb_checks::State;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::own::service_labels;
use super::table::{Labels, counter, gauge};
use crate::health::{Health, ServerEntry};

/// A metric's name, what it means, and its value.
type Metric = (&'static str, &'static str, fn(Conduct) -> u64);

/// What clients' packets show of a server, as counters.
const PASSIVE: [Metric; 3] = [
    (
        "lbd_passive_answered",
        "Conns whose SYN a server answered",
        |conduct| conduct.answered,
    ),
    (
        "lbd_passive_unanswered",
        "Conns whose SYN a server did not answer in time",
        |conduct| conduct.unanswered,
    ),
    (
        "lbd_passive_resets",
        "Conns that a server refused or broke off",
        |conduct| conduct.resets,
    ),
];

/// Health checks in figures.
#[derive(Clone)]
pub struct CheckMetrics(pub Arc<Health>);

impl fmt::Debug for CheckMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckMetrics")
    }
}

impl Collector for CheckMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let (servers, quorums, processor_time) = {
            let book = self.0.book();
            let servers = book.servers.iter().map(|((service, rip), entry)| {
                let mut labels = service_labels(*service);
                labels.push(("backend", rip.to_string()));
                (labels, entry.clone())
            });
            let quorums = book.quorums.iter();
            let quorums = quorums.map(|(id, is_met)| (service_labels(*id), u64::from(*is_met)));
            let (servers, quorums): (Vec<_>, Vec<_>) = (servers.collect(), quorums.collect());
            (servers, quorums, book.processor_time)
        };
        let each = |value: fn(&ServerEntry) -> u64| {
            let servers = servers.iter();
            let series = servers.map(|(labels, entry)| (labels.clone(), value(entry)));
            series.collect::<Vec<(Labels, u64)>>()
        };
        let up = |entry: &ServerEntry| u64::from(entry.state == State::Up);
        gauge(
            encoder,
            ("lbd_check_up", "Whether a server's check takes it for good"),
            each(up),
        )?;
        let took = servers
            .iter()
            .filter_map(|(labels, entry)| Some((labels.clone(), entry.took?.as_secs_f64())));
        gauge(
            encoder,
            ("lbd_check_duration_seconds", "How long the last check took"),
            took,
        )?;
        counter(
            encoder,
            ("lbd_check_passed", "Checks that a server passed"),
            each(|entry| entry.passed),
        )?;
        counter(
            encoder,
            ("lbd_check_failures", "Checks that a server did not pass"),
            each(|entry| entry.failed),
        )?;
        counter(
            encoder,
            ("lbd_check_changes", "Times that a server went up or down"),
            each(|entry| entry.changes),
        )?;
        let watched = servers.iter().filter(|(_, entry)| entry.conduct.is_some());
        let suspects = watched.map(|(labels, entry)| {
            let suspected = u64::from(entry.suspicion.is_some());
            (labels.clone(), suspected)
        });
        gauge(
            encoder,
            (
                "lbd_passive_suspect",
                "Whether a server has less than its weight for what its clients' packets show",
            ),
            suspects,
        )?;
        for (name, help, value) in PASSIVE {
            let series = servers.iter().filter_map(|(labels, entry)| {
                let value = value(entry.conduct?);
                Some((labels.clone(), value))
            });
            counter(encoder, (name, help), series)?;
        }
        gauge(
            encoder,
            ("lbd_quorum_met", "Whether a service has its quorum"),
            quorums,
        )?;
        let time = [(Labels::new(), processor_time.as_secs_f64())];
        gauge(
            encoder,
            (
                "lbd_checks_processor_seconds",
                "Processor time of all checks",
            ),
            time,
        )
    }
}
