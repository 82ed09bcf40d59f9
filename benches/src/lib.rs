//! Scenarios and bench programs.
//!
//! The scenarios are shared by all benches: a balancer between clients and servers, minimum-size frames, flows picked
//! at random.

mod case;
pub mod figures;
mod machine;
mod memory;
mod recycling_port;
mod rival_tables;
mod scale;
mod scenario;
mod soak;
mod thread_events;

pub use case::{Case, PACKETS};
pub use machine::{built_program, machine};
pub use memory::resident_bytes;
pub use recycling_port::RecyclingPort;
pub use rival_tables::{Entry, MapTable, SlabTable};
pub use scale::{live_conns, random};
pub use scenario::{
    CLIENT_SIDE, SERVER_SIDE, Scenario, VIP, VIP6, answer, client, client_v6, inbound, inbound_v6,
    next_hops, service,
};
pub use soak::{Report, Soak};
pub use thread_events::{Happened, ThreadEvents};
