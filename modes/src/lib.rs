//! Forwarding modes: which address changes, in which direction. One file each, and one line in [`builtin`].
//!
//! A mode sees bytes, never a socket. What all modes share is done around them by the engine: the TTL, partial
//! checksums, the conn's state, the way out and the Ethernet header.

mod dr;
mod nat;
mod translate;
mod tun;

use std::sync::Arc;

use lb_model::Mode;

pub use dr::DirectRouting;
pub use nat::Nat;
pub use tun::Tunnel;

/// Every mode of this crate; a mode's position is its number in conns and services.
pub fn builtin() -> Vec<Arc<dyn Mode>> {
    vec![Arc::new(DirectRouting), Arc::new(Nat), Arc::new(Tunnel)]
}
