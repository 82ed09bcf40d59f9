//! The eBPF programs of lbd and their loaders.
//!
//! Each program is one C file under `src/`, shares its structures with its loader through `include/`, and is compiled
//! at build time. What a loader attaches is held by a `bpf_link`: when the process ends, in whatever way, the kernel
//! detaches it.
//!
//! [`Steering`] is the XDP program in front of an interface: it sends what is ours to AF_XDP sockets and leaves the
//! rest to the kernel.

mod error;
mod link;
mod program;
mod rules;
mod steering;

pub use error::BpfError;
pub use rules::Rules;
pub use steering::{Steered, Steering, XdpMode};
