//! Which worker has the conn of a flow: asked by the others when they find none themselves.
//!
//! A NIC spreads packets over queues by a hash of its own, and a server's reply seldom meets its request's queue. So
//! what a worker does not find in its table may be in another's. This tells in whose, by one cache line as a rule: a
//! word for each key of each conn, with some bits of the key's hash and the owner's number.
//!
//! ```text
//! line, 64 bytes   | keys that live away | 15 words: 20 bits of the hash, 2 of the distance, 10 of owner + 1 |
//!
//! home  = hash scaled to the number of lines
//! place = the first free word of the home line, or of one of the three after it, so far away
//! ```
//!
//! Nobody waits for anybody: a word is taken and given up by one compare-and-swap, and read by a load. Two words that
//! are the same stand for the same, so it does not matter which of them goes when one of their keys does.
//! The answer is a hint: two keys may look the same here (one in 70,000 that are not there finds another's word), and
//! a conn may open or end meanwhile. Whoever is asked in vain by mistake does not find the conn either.

use crate::sync::{AtomicU32, Line, Ordering, WORDS, lines};

/// Words for keys in a line; the first of a line counts.
const SLOTS: usize = WORDS - 1;

/// That one, in a set of a line's words.
const COUNTS: u32 = 1;

/// The share of words that may be taken, in percent. One line in ten has keys away from home then.
const LOAD: u64 = 75;

/// Lines that a key may be in: its home and those after it.
const REACH: usize = 4;

/// Bytes that the two keys of a conn take here.
pub const BYTES_PER_CLAIM: u64 = (2 * size_of::<u32>() as u64 * 100).div_ceil(LOAD);

/// Workers that can be told apart.
pub const MAX_WORKERS: u16 = (1 << OWNER_BITS) - 1;

const OWNER_BITS: u32 = 10;
const DISTANCE_BITS: u32 = 2;
const OWNER: u32 = (1 << OWNER_BITS) - 1;

/// No key: memory that was never used holds nothing else, as owners count from one.
const FREE: u32 = 0;

/// The owners of the conns of all workers, by their flows' hashes, for which all must have one function.
pub struct Owners {
    lines: Box<[Line]>,
}

impl Owners {
    /// With room for so many keys.
    pub fn new(keys: u64) -> Owners {
        let count = (keys * 100).div_ceil(SLOTS as u64 * LOAD);
        Owners {
            lines: lines(count as usize + REACH),
        }
    }

    /// Says that `worker` has the conn of a flow with this hash; false if there is no room to say so.
    #[must_use]
    pub fn claim(&self, hash: u64, worker: u16) -> bool {
        let home = self.home(hash);
        for distance in 0..REACH {
            let word = word(hash, distance, worker);
            if replace(self.slots(home + distance), FREE, word) {
                if distance > 0 {
                    self.away(home).fetch_add(1, Ordering::Release);
                }
                return true;
            }
        }
        false
    }

    /// Takes back what was claimed.
    pub fn give_up(&self, hash: u64, worker: u16) {
        let home = self.home(hash);
        for distance in 0..REACH {
            let word = word(hash, distance, worker);
            if replace(self.slots(home + distance), word, FREE) {
                if distance > 0 {
                    self.away(home).fetch_sub(1, Ordering::Release);
                }
                return;
            }
        }
    }

    /// Which other worker than `asking` may have the conn of a flow with this hash.
    #[inline]
    pub fn find(&self, hash: u64, asking: u16) -> Option<u16> {
        let home = self.home(hash);
        let own = u32::from(asking) + 1;
        for distance in 0..REACH {
            if distance > 0 && self.away(home).load(Ordering::Acquire) == 0 {
                break;
            }
            let wanted = word(hash, distance, 0) & !OWNER;
            let line = &self.lines[home + distance];
            let mut alike = line.alike(wanted, !OWNER) & !COUNTS;
            while alike != 0 {
                // Its owner, if it still is of the key: all above that is zero then.
                let word = &line.0[alike.trailing_zeros() as usize % WORDS];
                let owner = word.load(Ordering::Acquire) ^ wanted;
                if owner <= OWNER && owner != FREE && owner != own {
                    return Some((owner - 1) as u16);
                }
                alike &= alike - 1;
            }
        }
        None
    }

    /// Where all of it is said.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Where a key with this hash will most likely be found.
    #[inline]
    pub fn line(&self, hash: u64) -> &Line {
        &self.lines[self.home(hash)]
    }

    /// Scaled instead of a remainder (Lemire, "Fast random integer generation in an interval", 2019).
    fn home(&self, hash: u64) -> usize {
        let homes = self.lines.len() - REACH;
        (((hash >> 32) * homes as u64) >> 32) as usize
    }

    /// How many keys have their home in this line and live in another.
    fn away(&self, line: usize) -> &AtomicU32 {
        &self.lines[line].0[0]
    }

    fn slots(&self, line: usize) -> &[AtomicU32] {
        &self.lines[line].0[1..]
    }
}

fn word(hash: u64, distance: usize, worker: u16) -> u32 {
    // The lower half: the upper chooses the line.
    let tag = (hash as u32) << (OWNER_BITS + DISTANCE_BITS);
    tag | (distance as u32) << OWNER_BITS | (u32::from(worker) + 1)
}

/// Whether one of `slots` held `old`, and holds `new` now.
fn replace(slots: &[AtomicU32], old: u32, new: u32) -> bool {
    slots.iter().any(|slot| {
        slot.load(Ordering::Relaxed) == old
            && slot
                .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    })
}
