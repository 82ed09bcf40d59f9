//! How long packets were on their way: the sink program's counts, by time.

use std::time::Duration;

/// As in `include/count.h`: each power of two is divided into so many entries.
const STEP_BITS: u32 = 4;
const STEPS: u32 = 1 << STEP_BITS;
const HIGHEST_BIT: u32 = 32;

/// How many packets took how long, to some 6 %.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// How many entries the program's map has.
    pub(crate) const ENTRIES: u32 = (HIGHEST_BIT - STEP_BITS + 2) * STEPS;

    /// The counts of all entries.
    pub(crate) fn new(counts: Vec<u64>) -> Latencies {
        Latencies(counts)
    }

    /// Those of the packets that came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Latencies) -> Latencies {
        let earlier = earlier.0.iter().copied().chain(std::iter::repeat(0));
        let counts = self.0.iter().zip(earlier);
        Latencies(counts.map(|(now, before)| now - before).collect())
    }

    /// How many packets that were.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What `percent` of the packets did not take longer than, but for the width of an entry; `None` if there are none.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let entry = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_nanos(least(entry as u32)))
    }
}

/// The shortest time that is counted in an entry.
fn least(entry: u32) -> u64 {
    match (entry >> STEP_BITS).checked_sub(1) {
        None => entry.into(),
        Some(shift) => u64::from(STEPS + entry % STEPS) << shift,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_one_another_and_are_6_percent_wide() {
        assert_eq!(least(0), 0);
        assert_eq!((least(15), least(16), least(17)), (15, 16, 17));
        assert_eq!((least(32), least(33)), (32, 34));
        for entry in 16..Latencies::ENTRIES - 1 {
            let (this, next) = (least(entry) as f64, least(entry + 1) as f64);
            assert!(next > this && next <= this * 1.0626, "{this} {next}");
        }
        assert_eq!(least(Latencies::ENTRIES - 16), 1 << HIGHEST_BIT);
    }

    #[test]
    fn percentiles_are_those_of_the_packets_since() {
        let entry = |at: u32, count| {
            let mut counts = vec![0; Latencies::ENTRIES as usize];
            counts[at as usize] = count;
            counts
        };
        let before = Latencies::new(entry(1, 5));
        let mut counts = entry(1, 104);
        counts[40] = 1;
        let after = Latencies::new(counts).since(&before);
        assert_eq!(after.count(), 100);
        let at = |percent| after.percentile(percent).map(|time| time.as_nanos());
        assert_eq!(at(50.0), Some(1));
        assert_eq!((at(99.0), at(99.5)), (Some(1), Some(48)));
        assert_eq!(Latencies::default().percentile(50.0), None);
    }
}
