//! What goes between workers.

use std::fmt;
use std::sync::Arc;

use lb::HandOvers;
use prometheus_client::encoding::DescriptorEncoder;

use super::table::{counter, gauge};

/// What goes between workers, for each pair and direction.
pub fn hand_overs(
    encoder: &mut DescriptorEncoder<'_>,
    pairs: &[Arc<HandOvers>],
) -> Result<(), fmt::Error> {
    let of = |value: fn(&HandOvers) -> u64| {
        pairs.iter().map(move |pair| {
            let ends = [("from", pair.from()), ("to", pair.to())];
            let labels = ends.map(|(name, worker)| (name, worker.to_string()));
            (labels.into(), value(pair))
        })
    };
    counter(
        encoder,
        (
            "lbd_handed_over_packets",
            "Packets handed to the worker that has their conn",
        ),
        of(HandOvers::packets),
    )?;
    gauge(
        encoder,
        (
            "lbd_handed_over_most_waiting",
            "The most packets that have waited to be taken over",
        ),
        of(|pair| pair.most_waiting().into()),
    )?;
    gauge(
        encoder,
        (
            "lbd_handed_over_room",
            "Packets that can wait to be taken over",
        ),
        of(|pair| pair.capacity().into()),
    )
}
