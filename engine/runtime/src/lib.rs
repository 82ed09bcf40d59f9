//! The worker: one turn, seven stages, each over a batch.
//!
//! [`Worker::turn`] is a packet's way from the wire back to the wire; the files in `stages/` are its steps. Workers
//! hand each other packets ([`Place`]) and share nothing else but what is read: a [`Snapshot`] of the configuration and the next hops, both replaced as a whole
//! and looked at once per turn. The crate names no mode, no scheduler and no kind of port.

mod adopt;
mod answer;
mod bell;
mod counters;
mod crew;
mod decisions;
mod effort;
mod fragments;
mod held;
mod observer;
mod paths;
mod questions;
mod schedulers;
mod snapshot;
mod stages;
mod sync;
mod traffic_book;

mod worker;

pub use adopt::{Adoption, Foreign, ForeignTemplate};
pub use counters::{Counter, Counters, SharedCounters};
pub use crew::{HandOvers, Place};
pub use decisions::{Decision, Decisions};
pub use effort::{Effort, SharedEffort, TURN_BOUNDS};
pub use observer::{Observed, Observer};
pub use questions::{Asker, Inside};
pub use schedulers::Schedulers;
pub use snapshot::{Services, Snapshot};
pub use traffic_book::TrafficBook;
pub use worker::{Resolver, Turn, Worker};
