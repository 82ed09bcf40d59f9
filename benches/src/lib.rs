//! Scenarios and bench programs.
//!
//! The scenarios are shared by all benches: a balancer between clients and servers, minimum-size frames, flows picked
//! at random.

mod recycling_port;
mod scenario;

pub use recycling_port::RecyclingPort;
pub use scenario::{Scenario, client, inbound, next_hops, outbound};
