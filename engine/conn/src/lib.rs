//! The connection table of one queue: entries, TCP states, expiry.
//!
//! One [`ConnTable`] belongs to one worker and is touched by nobody else, so that nothing here locks. Its memory is
//! reserved for the configured capacity at the start and never grows. A conn is found by the flow of its inbound
//! packets and, if its mode sees them, of its outbound packets: an index of cache lines over a slab of
//! entries, made to be looked up for a whole batch at once. Which worker has a conn is all that workers share of them: a
//! worker [claims](Claims) its conns' flows where others can ask. Of persistence they share which server a client is led to.

mod agreed;
mod claims;
mod dests;
mod entry;
mod fifo;
mod hash;
mod index;
mod local_use;
mod looks;
mod mem;
mod owners;
mod pages;
mod ports;
mod sign;
mod state;
mod sync;
mod table;
mod templates;
mod wheel;

pub use agreed::AgreedServers;
pub use claims::Claims;
pub use entry::Stamp;
pub use index::Hash;
pub use local_use::{LocalUse, LocalUses};
pub use mem::prefetch;
pub use owners::{BYTES_PER_CLAIM, MAX_WORKERS, Owners};
pub use ports::LocalPorts;
pub use sign::Sign;
pub use state::{Timeouts, next_state};
pub use table::{BYTES_PER_CONN, Begun, ConnTable, ConnView, Guess, MAX_CAPACITY, Refused};
pub use templates::{Asked, Template, TemplateId, TemplateKey, Templates};
