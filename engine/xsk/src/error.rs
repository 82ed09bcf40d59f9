//! What can go wrong while sockets are opened.

use std::error::Error;
use std::io;

use lb_bpf::BpfError;

/// Why the sockets of an engine could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XskError {
    /// A field of the configuration has a value that is not allowed.
    #[error("{field}: {value}, allowed: {allowed}")]
    Config {
        /// The field of [`XskConfig`](crate::XskConfig).
        field: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The kernel does not tell about an interface.
    #[error("{interface}: {what}: {source}")]
    Interface {
        /// Its name.
        interface: String,
        /// What was asked.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Packets of the interface do not fit a chunk.
    #[error(
        "{interface}: MTU {mtu} does not fit frame_size {frame_size}, allowed: up to {largest}; \
         lower the MTU or raise frame_size"
    )]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The configured chunk size.
        frame_size: u32,
        /// The largest MTU for it.
        largest: u32,
    },
    /// An interface cannot send from every queue it receives on.
    #[error(
        "{interface}: {receive} receive queues but {transmit} transmit queues; \
         make them equal with `ethtool -L {interface}`"
    )]
    Queues {
        /// The interface.
        interface: String,
        /// Its receive queues.
        receive: u32,
        /// Its transmit queues.
        transmit: u32,
    },
    /// A worker would have no queue of some interface, and could not send there.
    #[error(
        "workers: {workers}, allowed: 1..={queues}, the queues of {interface}: every worker needs one on every \
         interface; see `ethtool -l {interface}`"
    )]
    Workers {
        /// How many were asked for.
        workers: u32,
        /// The interface with the fewest queues.
        interface: String,
        /// How many it has.
        queues: u32,
    },
    /// Packet memory could not be had.
    #[error("packet memory of {bytes} bytes: {source}{hint}")]
    Memory {
        /// How much was asked for.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
        /// What it usually means.
        hint: &'static str,
    },
    /// A socket could not be made, or not bound to its queue.
    #[error("{interface} queue {queue}: {what}: {source}{hint}")]
    Socket {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
        /// What it usually means.
        hint: &'static str,
    },
    /// A worker could not be woken by others.
    #[error("an eventfd: {0}")]
    Alarm(io::Error),
    /// A socket could not have another name, for its statistics.
    #[error("a descriptor: {0}")]
    Descriptor(io::Error),
    /// The steering program could not be attached or told its rules.
    #[error(transparent)]
    Steering(#[from] BpfError),
}

/// The kernel's answer inside an error of xsk-rs.
pub(crate) fn kernel_answer(error: &dyn Error) -> io::Error {
    let answer = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    match answer {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(error.to_string()),
    }
}

/// What the kernel's answer usually means for an AF_XDP socket.
pub(crate) fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " (needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, or root)"
        }
        Some(libc::EBUSY) => " (another AF_XDP socket is bound to this queue)",
        Some(libc::ENOBUFS) => " (raise the limit on locked memory: LimitMEMLOCK=infinity)",
        Some(libc::EAFNOSUPPORT) => " (this kernel has no AF_XDP)",
        Some(libc::ENETDOWN) => " (the interface is down)",
        _ => "",
    }
}
