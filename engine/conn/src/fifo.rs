//! A queue whose links lie in the entries that wait in it.

use crate::wheel::{Link, Timers};

const NONE: u32 = u32::MAX;

/// Entries in the order in which they were put in. An entry is in a queue or in a wheel, never in both.
pub struct Fifo {
    first: u32,
    last: u32,
}

impl Fifo {
    /// A queue with nobody in it.
    pub fn new() -> Fifo {
        Fifo {
            first: NONE,
            last: NONE,
        }
    }

    /// The entry that has waited for longest.
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// The entry that was put in after the one with this link.
    pub fn after(link: &Link) -> Option<u32> {
        (link.next != NONE).then_some(link.next)
    }

    /// Puts entry `id`, which is in no list, behind all others.
    pub fn push(&mut self, entries: &mut impl Timers, id: u32) {
        *entries.link(id) = Link {
            previous: self.last,
            next: NONE,
        };
        if self.last == NONE {
            self.first = id;
        } else {
            entries.link(self.last).next = id;
        }
        self.last = id;
    }

    /// Takes entry `id` out, which is in this queue.
    pub fn remove(&mut self, entries: &mut impl Timers, id: u32) {
        let Link { previous, next } = std::mem::replace(entries.link(id), Link::UNSET);
        if previous == NONE {
            self.first = next;
        } else {
            entries.link(previous).next = next;
        }
        if next == NONE {
            self.last = previous;
        } else {
            entries.link(next).previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::Time;
    use std::collections::VecDeque;

    use proptest::prelude::*;

    struct Links([Link; 8]);

    impl Timers for Links {
        fn link(&mut self, id: u32) -> &mut Link {
            &mut self.0[id as usize]
        }

        fn due(&self, _: u32) -> Time {
            Time::ZERO
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_deque(ids in prop::collection::vec(0..8u32, 0..60)) {
            let (mut fifo, mut links) = (Fifo::new(), Links([Link::UNSET; 8]));
            let mut model = VecDeque::new();
            for id in ids {
                if let Some(at) = model.iter().position(|other| *other == id) {
                    model.remove(at);
                    fifo.remove(&mut links, id);
                } else {
                    model.push_back(id);
                    fifo.push(&mut links, id);
                }
                prop_assert_eq!(fifo.first(), model.front().copied());
            }
            while let Some(id) = model.pop_front() {
                prop_assert_eq!(fifo.first(), Some(id));
                fifo.remove(&mut links, id);
            }
            prop_assert_eq!(fifo.first(), None);
        }
    }
}
