//! What can go wrong while a lab is made or used.

use std::process::ExitStatus;
use std::{fmt, io};

/// A lab could not be made, or a program in it did not do its job.
#[derive(thiserror::Error)]
pub enum Error {
    /// The kernel refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` ended with {status}:\n{output}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// A process did not say in time what was waited for, or ended before.
    #[error("`{command}` did not say {expected:?} within {seconds} s; it said:\n{output}")]
    NotReady {
        /// The program and its arguments.
        command: String,
        /// The text waited for.
        expected: String,
        /// How long.
        seconds: u64,
        /// What it printed instead.
        output: String,
    },
    /// A process is still running when it should have ended.
    #[error("`{command}` still runs after {seconds} s; it said:\n{output}")]
    StillRunning {
        /// The program and its arguments.
        command: String,
        /// How long.
        seconds: u64,
        /// What it printed.
        output: String,
    },
}

impl Error {
    /// Wraps an I/O error, saying what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

/// As [`Display`](fmt::Display): this is what a failing `expect` prints, and a program's log should be legible there.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
