//! IPVS's connection synchronisation protocol, version 1 (kernel `net/netfilter/ipvs/ip_vs_sync.c`): balancers tell each
//! other of their conns, so that one can go on where another ended.
//!
//! [`Message`] and [`Packer`] are what goes over the wire, [`SyncConn`] and [`SyncTemplate`] what is told there. [`Telling`]
//! decides which conns are told of when, [`Hearing`] what is worth listening to. Sockets, threads and connection tables are
//! somebody else's.

mod conn;
mod hearing;
mod message;
mod record;
mod telling;

pub use conn::{AskedFor, Method, State, SyncConn, SyncTemplate, SyncTemplateKey, flags};
pub use hearing::{Hearing, News};
pub use message::{LONGEST, Malformed, Message, Packer, Received};
pub use record::Told;
pub use telling::{Telling, TemplateUse};
