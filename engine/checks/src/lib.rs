//! Health checks of real servers: who is asked what and how often, what counts as an answer, and what follows.
//!
//! A [`Watcher`] asks all servers side by side on one thread and says what it finds. What that means for a server
//! ([`Judge`]) and for its service ([`Quorum`], [`Ramp`]) is decided by state machines that know neither sockets nor
//! clocks. Nothing here changes a balancer: whoever holds the watcher does.

mod command;
mod config;
mod failure;
mod judge;
mod passive;
pub mod probe;
mod quorum;
mod ramp;
mod watcher;

pub use command::{Command, Notifier};
pub use config::{
    Check, Dns, Http, Initial, OnFailure, Policy, Probe, RecordType, ServiceHealth, SorryServer,
    StatusSet, Tls, Udp, Way,
};
pub use failure::Failure;
pub use judge::{Judge, State};
pub use passive::{Change, Evidence, Passive, Suspicion, Witnessed};
pub use quorum::Quorum;
pub use ramp::Ramp;
pub use watcher::{Found, Target, Watcher};
