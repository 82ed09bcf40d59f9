//! How servers treat their clients' conns, as their packets show.

use std::ops::{Add, Sub};

/// What was seen of a server whose packets pass through us, in numbers that only grow. Each TCP conn that a SYN opened
/// counts as answered or unanswered, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Conduct {
    /// Conns whose first SYN the server answered, if only with RST.
    pub answered: u64,
    /// Conns whose first SYN it had not answered when the client asked again, or the conn's time was over.
    pub unanswered: u64,
    /// Conns that it broke off with RST, when they were asked for or once they were established.
    pub resets: u64,
}

impl Conduct {
    fn zip(self, other: Conduct, join: impl Fn(u64, u64) -> u64) -> Conduct {
        Conduct {
            answered: join(self.answered, other.answered),
            unanswered: join(self.unanswered, other.unanswered),
            resets: join(self.resets, other.resets),
        }
    }
}

impl Add for Conduct {
    type Output = Conduct;

    fn add(self, other: Conduct) -> Conduct {
        self.zip(other, u64::wrapping_add)
    }
}

impl Sub for Conduct {
    type Output = Conduct;

    /// What was added since `other`.
    fn sub(self, other: Conduct) -> Conduct {
        self.zip(other, u64::wrapping_sub)
    }
}
