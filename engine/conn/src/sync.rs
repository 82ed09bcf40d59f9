//! The atomics of what workers share, in one place: the model checker's test puts its own in place of these.

pub use std::sync::atomic::{AtomicU32, Ordering};

use zerocopy::FromZeros;

use crate::mem::{equal_bits, zeroed_in_huge_pages};

/// Words in a cache line.
pub const WORDS: usize = 16;

/// A cache line that several workers read and write.
#[derive(FromZeros)]
#[repr(C, align(64))]
pub struct Line(pub [AtomicU32; WORDS]);

impl Line {
    /// Which words have the same of these `bits` as `word`, as a bit set; the first word is bit 0. A hint: others may be
    /// writing.
    #[inline(always)]
    pub fn alike(&self, word: u32, bits: u32) -> u32 {
        equal_bits(&self.0, word, bits)
    }
}

/// So many lines of zeros.
pub fn lines(count: usize) -> Box<[Line]> {
    zeroed_in_huge_pages(count)
}
