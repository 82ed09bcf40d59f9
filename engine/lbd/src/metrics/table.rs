//! Series of one name.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The labels of one series, each with its value.
pub type Labels = Vec<(&'static str, String)>;

/// Writes a counter's series; `_total` is added to its name.
pub fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    series: impl IntoIterator<Item = (Labels, u64)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        // Without labels a family would be written with empty braces.
        match labels.is_empty() {
            true => metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)?,
            false => {
                let mut one = metric.encode_family(&labels)?;
                one.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
            }
        }
    }
    Ok(())
}

/// Writes the series of a counter of seconds; `_total` is added to its name.
pub fn seconds(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    series: impl IntoIterator<Item = (Labels, f64)>,
) -> Result<(), Error> {
    let unit = Unit::Seconds;
    let mut metric = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Counter)?;
    for (labels, value) in series {
        let mut one = metric.encode_family(&labels)?;
        one.encode_counter::<NoLabelSet, f64, u64>(&value, None)?;
    }
    Ok(())
}

/// What a histogram counted: the sum in seconds, and how many up to each bound in seconds, each counted once.
pub struct Distribution {
    pub sum: f64,
    pub counts: Vec<(f64, u64)>,
}

/// Writes a histogram's series, in seconds.
pub fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    series: impl IntoIterator<Item = (Labels, Distribution)>,
) -> Result<(), Error> {
    let unit = Unit::Seconds;
    let mut metric = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
    for (labels, Distribution { sum, counts }) in series {
        let count = counts.iter().map(|(_, count)| count).sum();
        let mut one = metric.encode_family(&labels)?;
        one.encode_histogram::<NoLabelSet>(sum, count, &counts, None)?;
    }
    Ok(())
}

/// Writes a gauge's series.
pub fn gauge<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    series: impl IntoIterator<Item = (Labels, V)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        match labels.is_empty() {
            true => metric.encode_gauge(&value)?,
            false => metric.encode_family(&labels)?.encode_gauge(&value)?,
        }
    }
    Ok(())
}
