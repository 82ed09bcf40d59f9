//! The programs of the real-server agent, `lbrs`.
//!
//! Each role has a folder in a bpffs, [`Pins`]: the links that keep its programs attached, and the maps that hold what
//! they know. So they work on when the agent is gone, and the next one takes them over: it loads its own programs on
//! the maps that are there and puts them in place of the old ones.

mod enat;
mod error;
mod flows;
mod listeners;
mod maps;
mod pins;
mod prefix;
mod toa;
mod tunnel;

use std::io;

pub use enat::{Enat, EnatSettings, PortMapping};
pub use error::AgentError;
pub use flows::{Flows, Usage};
pub use listeners::Listeners;
pub use pins::{Attached, Hook, Pins, Programs};
pub use prefix::{ParsePrefixError, Prefix};
pub use toa::{Toa, ToaSettings};
pub use tunnel::{Tunnel, TunnelSettings};

/// What a counter of a role's program is called, and what it counts.
pub type Counter = (&'static str, &'static str);

/// The number by which the kernel tells the calling thread's network namespace from all others of this boot
/// (Linux 5.14).
///
/// # Errors
///
/// If the kernel is older, or gives us no socket.
pub fn network_namespace_cookie() -> io::Result<u64> {
    crate::link::network_namespace_cookie()
}
