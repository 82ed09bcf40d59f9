//! Scenarios and bench programs.
//!
//! The scenarios are shared by all benches: a balancer between clients and servers, minimum-size frames, flows picked
//! at random.

pub mod figures;
mod machine;
mod recycling_port;
mod scenario;

pub use machine::{built_program, machine};
pub use recycling_port::RecyclingPort;
pub use scenario::{
    CLIENT_SIDE, SERVER_SIDE, Scenario, VIP, VIP6, client, client_v6, inbound, inbound_v6,
    next_hops, outbound, service,
};
