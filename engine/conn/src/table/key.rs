//! What the index knows of a conn: its place in the slab, and which of its two flows is meant.

use lb_model::{ConnId, Direction, Hit};

use super::NONE;

/// Where a flow probably is in the table that was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guess(pub(super) u32);

impl Guess {
    /// Nowhere. As a [`Key`] it is beyond all entries.
    pub const NONE: Guess = Guess(NONE);

    /// Not where most are, as long as it is not looked at elsewhere; beyond all entries, too.
    pub(super) const ELSEWHERE: Guess = Guess(NONE - 2);
}

/// One of a conn's keys: its place in the slab, shifted, and which of its two flows is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(pub u32);

impl Key {
    pub fn new(id: ConnId, direction: Direction) -> Key {
        Key(id.0 << 1 | u32::from(direction == Direction::Outbound))
    }

    #[inline(always)]
    pub fn hit(self) -> Hit {
        let direction = if self.0 & 1 == 0 {
            Direction::Inbound
        } else {
            Direction::Outbound
        };
        Hit {
            conn: ConnId(self.0 >> 1),
            direction,
        }
    }
}
