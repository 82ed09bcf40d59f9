//! IPVS's connection synchronisation protocol, version 1 (kernel `net/netfilter/ipvs/ip_vs_sync.c`): balancers tell each
//! other of their conns, so that one can go on where another ended.
//!
//! [`message`] is what goes over the wire, [`conn`] what a conn is called there, and [`Telling`] decides which conns are told
//! of when. Sockets, threads and connection tables are somebody else's.

mod conn;
mod message;
mod telling;

pub use conn::{Method, State, SyncConn, flags};
pub use message::{LONGEST, Malformed, Message, Packer, Received};
pub use telling::Telling;
