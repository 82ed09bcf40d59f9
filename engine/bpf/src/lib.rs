//! The eBPF programs of lbd and their loaders.
//!
//! Each program is one C file under `src/`, shares its structures with its loader through `include/`, and is compiled
//! at build time. What a loader attaches is held by a `bpf_link`: when the process ends, in whatever way, the kernel
//! detaches it.
//!
//! [`Steering`] is the XDP program in front of an interface: it sends what is ours to AF_XDP sockets and leaves the
//! rest to the kernel. [`Generator`], [`Sink`] and [`Redirect`] are for benches. [`agent`] has the programs of the
//! real-server agent, whose links are pinned: those stay when the process ends.

pub mod agent;
mod attached;
mod error;
mod generator;
mod latencies;
mod link;
mod marked;
mod program;
mod redirect;
mod rules;
mod sink;
mod skeleton;
mod steering;

pub use attached::{AttachedProgram, XdpState};
pub use error::BpfError;
pub use generator::{Generator, Stream};
pub use latencies::Latencies;
pub use marked::{Marked, Ports, marked};
pub use program::ROOM_MARK;
pub use redirect::Redirect;
pub use rules::Rules;
pub use sink::{Arrivals, Sink};
pub use steering::{Steered, Steering, XdpMode};
