//! What can go wrong between us and the kernel.

use std::io;

/// Why the kernel's tables could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// An interface was named that is not there.
    #[error("interface {name} does not exist; there are: {}", existing.join(", "))]
    NoSuchInterface {
        /// The name that was asked for.
        name: String,
        /// Those that exist.
        existing: Vec<String>,
    },
    /// The kernel refused, or could not be spoken to.
    #[error("cannot {what}: {source}")]
    Refused {
        /// What was tried, like `add 10.0.0.100/32 to eth0`.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl NetlinkError {
    /// Makes an error of the kernel's answer to an attempt at `what`.
    pub(crate) fn refused(what: impl Into<String>) -> impl FnOnce(io::Error) -> NetlinkError {
        let what = what.into();
        move |source| NetlinkError::Refused { what, source }
    }
}

/// The kernel's error number where there is one.
pub(crate) fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
