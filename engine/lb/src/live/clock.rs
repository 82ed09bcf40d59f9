//! The engine's time on a live machine.

use std::time::Instant;

use lb_model::Time;

/// Time since the clock was made, from the machine's monotonic clock.
pub struct Clock(Instant);

impl Clock {
    pub fn new() -> Clock {
        Clock(Instant::now())
    }

    pub fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }
}
