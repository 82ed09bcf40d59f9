//! AF_XDP sockets as a [`Port`](lb_model::Port).
//!
//! [`Xsk::open`] puts the steering program of `lb-bpf` in front of every interface, binds one socket to each of their
//! queues, and hands out one [`XskPort`] for each worker. All sockets share one UMEM, so a frame received on one
//! interface leaves on another where it lies.
//!
//! ```text
//!            fill ring            RX ring
//!   free ───────────────> kernel ─────────> Frame (held by the worker)
//!    ^                                        │ transmit      │ punt, release
//!    │   completion ring          TX ring     │               │
//!    └───────────────── kernel <──────────────┘               │
//!    └────────────────────────────────────────────────────────┘
//! ```
//!
//! A chunk of the UMEM is always in exactly one of these places; the token for it moves and cannot be copied. Every
//! port counts each place by itself, so that [`census`](lb_model::Port::census) can tell when one is missing. A held frame
//! may go to another port: the one counts it out and the other in, and no byte of it is copied.
//!
//! `unsafe` lives in seven small files: `umem` (packet memory), `queue` (rings), `wait` (poll), `netdev`, `inspect` and `tap`
//! (ioctls), `statistics` (a socket option).

mod busy_poll;
mod config;
mod error;
mod inspect;
mod netdev;
mod open;
mod port;
mod queue;
mod report;
mod statistics;
mod tap;
mod umem;
mod wait;

pub use config::XskConfig;
pub use error::XskError;
pub use inspect::{DeviceState, Offload};
pub use lb_bpf::{
    AttachedProgram, BpfError, Marked, Ports, Rules, Steered, XdpMode, XdpState, marked,
};
pub use netdev::{queue_count, rss};
pub use open::{Control, Xsk};
pub use port::XskPort;
pub use report::{CopyMode, QueueReport, Waiting};
pub use statistics::{RingStatistics, SocketStatistics};
