//! What can go wrong with an eBPF program.

use std::{fmt, io};

/// Why a program could not be loaded, attached or told its rules.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpfError {
    /// The process lacks the rights.
    #[error(
        "{interface}: {what}: {source} (needs CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW, or root)"
    )]
    Permission {
        /// The interface.
        interface: String,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel's verifier or the loader refused the program.
    #[error("{interface}: the XDP program does not load: {reason}")]
    Load {
        /// The interface.
        interface: String,
        /// The loader's words.
        reason: String,
    },
    /// The interface has an XDP program already.
    #[error(
        "another XDP program is attached to {interface}: see `ip link show dev {interface}`; is lbd running already?"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// Neither the driver nor the kernel's generic path takes the program.
    #[error("{interface}: the XDP program does not attach: native: {native}; generic: {generic}")]
    Attach {
        /// The interface.
        interface: String,
        /// Why not in the driver.
        native: String,
        /// Why not in the generic path.
        generic: io::Error,
    },
    /// A map did not take an entry.
    #[error("{interface}: {entry}: {reason}")]
    Map {
        /// The interface.
        interface: String,
        /// The entry, like `service tcp 10.0.0.100:80`.
        entry: String,
        /// The kernel's answer.
        reason: String,
    },
    /// One of the programs for benches did not do as it was told.
    #[error("the BPF program `{program}`: {what}: {reason}")]
    Bench {
        /// The program.
        program: &'static str,
        /// What was tried.
        what: &'static str,
        /// The kernel's or the loader's answer.
        reason: String,
    },
}

impl BpfError {
    /// Wraps an answer to `what` was tried with `program`.
    pub(crate) fn bench<E: fmt::Display>(
        program: &'static str,
        what: &'static str,
    ) -> impl FnOnce(E) -> BpfError {
        move |error| BpfError::Bench {
            program,
            what,
            reason: format!("{error:#}"),
        }
    }
}
