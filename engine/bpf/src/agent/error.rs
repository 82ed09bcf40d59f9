//! What can go wrong with a role's programs.

use std::fmt;
use std::path::PathBuf;

/// Why a role's programs could not be loaded, attached, configured or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The kernel's verifier or the loader refused a program.
    #[error(
        "the program `{program}` does not load: {reason} (if it is because of pinned maps of another version: `lbrs detach`)"
    )]
    Load {
        /// Its name.
        program: &'static str,
        /// The loader's words.
        reason: String,
    },
    /// A program does not attach.
    #[error("cannot attach to {hook}: {reason}")]
    Attach {
        /// Where it should have run.
        hook: String,
        /// The kernel's answer.
        reason: String,
    },
    /// A map cannot be read or written.
    #[error("map `{map}`: {reason}")]
    Map {
        /// Its name.
        map: String,
        /// The kernel's answer.
        reason: String,
    },
    /// A file in the bpffs cannot be made, opened or removed.
    #[error("{}: {reason}", .path.display())]
    Pin {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        reason: String,
    },
}

impl AgentError {
    pub(crate) fn load(program: &'static str, error: &libbpf_rs::Error) -> AgentError {
        AgentError::Load {
            program,
            reason: format!("{error:#}"),
        }
    }

    pub(crate) fn map<E: fmt::Display>(map: &str) -> impl FnOnce(E) -> AgentError {
        let map = map.to_owned();
        move |error| AgentError::Map {
            map,
            reason: format!("{error:#}"),
        }
    }

    pub(crate) fn pin<E: fmt::Display>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> AgentError {
        let path = path.into();
        move |error| AgentError::Pin {
            path,
            reason: format!("{error:#}"),
        }
    }
}
