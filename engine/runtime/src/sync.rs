//! The atomics that workers wait and wake by, in one place: the model checker's test puts its own in place of these.

pub use std::sync::atomic::{AtomicBool, Ordering, fence};
