//! Next hops, neighbours and addresses, from and to the kernel over rtnetlink.
//!
//! lbd has no routing table and no ARP of its own. [`Kernel`] copies the kernel's links, routes and neighbours
//! into `lb_model::NextHops`, follows every change, and publishes each state as a whole: a worker loads one
//! snapshot per turn and never sees half of a change. What the kernel does not know yet it is asked to find out
//! ([`Resolver`], [`Kernel::watch`]); VIPs are put on interfaces and taken off again ([`AddedAddress`]).
//!
//! One thread does all of it. The asynchronous runtime inside is its own: callers need none.

mod address;
mod conversation;
mod error;
mod follow;
mod kernel;
mod links;
mod mirror;
mod neighbour;
mod resolver;
mod route;
mod source;

pub use address::{AGENT, AddedAddress, Origin};
pub use error::NetlinkError;
pub use kernel::Kernel;
pub use links::{Link, links};
pub use resolver::Resolver;
