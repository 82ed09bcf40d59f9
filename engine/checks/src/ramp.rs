//! How a server that comes back gets its weight: in even steps over the time of its slow start.
//!
//! After `t` of a slow start of `T` it has `weight * t / T`, rounded down, and 1 at least. `t` goes in steps of a second,
//! or of a tenth of `T` where that is shorter, so schedulers see a weight that stays for a whole step.

use std::time::Duration;

/// The longest step.
const STEP: Duration = Duration::from_secs(1);

/// So many steps at least.
const STEPS: u32 = 10;

/// A slow start under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ramp {
    begun: Duration,
    whole: Duration,
}

impl Ramp {
    /// Begins at `now`; `None` if there is nothing slow about it.
    pub fn begin(now: Duration, whole: Duration) -> Option<Ramp> {
        let begun = now;
        (!whole.is_zero()).then_some(Ramp { begun, whole })
    }

    /// The share of the weight at `now`, as parts and of how many; `None`: all of it, the start is over.
    pub fn share(&self, now: Duration) -> Option<(u32, u32)> {
        let passed = now.saturating_sub(self.begun);
        if passed >= self.whole {
            return None;
        }
        let step = self.step();
        let steps = passed.as_micros() / step.as_micros().max(1);
        let micros = steps * step.as_micros();
        // In milliseconds, so that the parts of a day fit.
        let millis = |micros: u128| u32::try_from(micros / 1000).unwrap_or(u32::MAX);
        Some((millis(micros), millis(self.whole.as_micros()).max(1)))
    }

    /// When the share changes next.
    pub fn next_step(&self, now: Duration) -> Duration {
        let step = self.step();
        let steps = now.saturating_sub(self.begun).as_micros() / step.as_micros().max(1);
        let steps = u32::try_from(steps + 1).unwrap_or(u32::MAX);
        (self.begun + step.saturating_mul(steps)).min(self.begun + self.whole)
    }

    fn step(&self) -> Duration {
        STEP.min(self.whole / STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a ramp step by step: when it changes, in milliseconds, and what a weight of 100 is then.
    fn steps(whole_ms: u64) -> Vec<(u64, u32)> {
        let begun = Duration::from_secs(1000);
        let ramp = Ramp::begin(begun, Duration::from_millis(whole_ms)).expect("slow");
        let (mut now, mut steps) = (begun, Vec::new());
        while let Some((part, of)) = ramp.share(now) {
            let just_before = ramp.next_step(now) - Duration::from_micros(1);
            assert_eq!(ramp.share(just_before), Some((part, of)), "a whole step");
            steps.push(((now - begun).as_millis() as u64, (100 * part / of).max(1)));
            now = ramp.next_step(now);
        }
        steps
    }

    #[test]
    fn a_ramp_rises_in_even_steps() {
        let expected: Vec<(u64, u32)> =
            (0..20).map(|s| (s * 1000, (s as u32 * 5).max(1))).collect();
        assert_eq!(steps(20_000), expected);
        let expected: Vec<(u64, u32)> =
            (0..10).map(|s| (s * 100, (s as u32 * 10).max(1))).collect();
        assert_eq!(steps(1000), expected);
        assert_eq!(steps(60_000).len(), 60);
        assert_eq!(Ramp::begin(Duration::ZERO, Duration::ZERO), None);
    }
}
