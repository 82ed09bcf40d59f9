//! From the clock ticks of a capture to nanoseconds since 1970.

use lb_model::Time;

use crate::Problem;

/// The unit and the origin of an interface's timestamps (pcapng `if_tsresol` and `if_tsoffset`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    unit: Unit,
    offset_s: i64,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    /// One tick is this many nanoseconds.
    Nanos(u64),
    /// This many ticks are one nanosecond.
    PerNano(u128),
    /// One tick is two to the minus this many seconds.
    Binary(u8),
}

impl Clock {
    /// What holds if a capture says nothing else.
    pub(crate) const MICROSECONDS: Clock = Clock {
        unit: Unit::Nanos(1000),
        offset_s: 0,
    };

    /// The clock of `if_tsresol`: a negative power of ten, or of two if the highest bit is set.
    pub(crate) fn with_resolution(self, resolution: u8) -> Clock {
        let exponent = resolution & 0x7f;
        let unit = match (resolution & 0x80 != 0, exponent) {
            (true, _) => Unit::Binary(exponent),
            (false, 0..=9) => Unit::Nanos(10_u64.pow(u32::from(9 - exponent))),
            // From 10^-48 s on no 64-bit count of ticks reaches a nanosecond, whatever the divisor.
            (false, _) => Unit::PerNano(
                10_u128
                    .checked_pow(u32::from(exponent - 9))
                    .unwrap_or(u128::MAX),
            ),
        };
        Clock { unit, ..self }
    }

    /// The clock whose ticks count from `offset_s` seconds after 1970.
    pub(crate) fn with_offset(self, offset_s: i64) -> Clock {
        Clock { offset_s, ..self }
    }

    /// The time of a tick.
    #[inline]
    pub(crate) fn time(&self, ticks: u64) -> Result<Time, Problem> {
        let nanos = match self.unit {
            Unit::Nanos(nanos) => u128::from(ticks) * u128::from(nanos),
            Unit::PerNano(ticks_per_nano) => u128::from(ticks) / ticks_per_nano,
            Unit::Binary(exponent) => (u128::from(ticks) * 1_000_000_000) >> exponent,
        };
        let nanos = nanos as i128 + i128::from(self.offset_s) * 1_000_000_000;
        u64::try_from(nanos)
            .map(Time::from_nanos)
            .map_err(|_| Problem::Time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(clock: Clock, ticks: u64) -> Option<u64> {
        clock.time(ticks).ok().map(Time::as_nanos)
    }

    #[test]
    fn ticks_become_nanoseconds_at_every_resolution() {
        let clock = Clock::MICROSECONDS;
        assert_eq!(nanos(clock, 7), Some(7_000));
        assert_eq!(nanos(clock.with_resolution(0), 7), Some(7_000_000_000));
        assert_eq!(nanos(clock.with_resolution(9), 7), Some(7));
        assert_eq!(nanos(clock.with_resolution(12), 7_999), Some(7));
        assert_eq!(nanos(clock.with_resolution(127), u64::MAX), Some(0));
        assert_eq!(
            nanos(clock.with_resolution(0x80 | 1), 3),
            Some(1_500_000_000)
        );
        assert_eq!(nanos(clock.with_resolution(0xff), u64::MAX), Some(0));
    }

    #[test]
    fn an_offset_moves_the_origin_and_never_before_1970() {
        let clock = Clock::MICROSECONDS.with_offset(-1);
        assert_eq!(nanos(clock, 1_000_001), Some(1_000));
        assert_eq!(nanos(clock, 999_999), None);
        assert_eq!(nanos(Clock::MICROSECONDS.with_offset(i64::MAX), 0), None);
        assert_eq!(
            nanos(Clock::MICROSECONDS.with_resolution(0), u64::MAX),
            None
        );
    }
}
