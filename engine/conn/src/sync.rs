//! The atomics of what workers share, in one place: the model checker's test puts its own in place of these.

pub use std::sync::atomic::{AtomicU32, Ordering};

use zerocopy::FromZeros;

use crate::mem::zeroed_in_huge_pages;

/// Words in a cache line.
pub const WORDS: usize = 16;

/// A cache line that several workers read and write.
#[derive(FromZeros)]
#[repr(C, align(64))]
pub struct Line(pub [AtomicU32; WORDS]);

/// So many lines of zeros.
pub fn lines(count: usize) -> Box<[Line]> {
    zeroed_in_huge_pages(count)
}
