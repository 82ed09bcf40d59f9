//! Mistakes in a command line, and the help that answers some of them.

use std::fmt;

/// What `-v` prints; scripts look for the number.
pub const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// What `-h` prints after [`VERSION`].
pub const HELP: &str = include_str!("help.txt");

/// A command line that is no command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageError {
    text: String,
    exit_code: u8,
    ends_restore: bool,
}

impl UsageError {
    /// A value or combination that makes no sense.
    pub(crate) fn mistake(text: impl Into<String>) -> UsageError {
        UsageError {
            text: text.into(),
            exit_code: 2,
            ends_restore: true,
        }
    }

    /// Nothing to start from.
    pub(crate) fn no_command() -> UsageError {
        UsageError {
            text: "Try `ipvsadm -h' or 'ipvsadm --help' for more information.".to_owned(),
            exit_code: 255,
            ends_restore: true,
        }
    }

    /// A word that popt cannot read.
    pub(crate) fn unreadable(word: &str, why: &str) -> UsageError {
        UsageError {
            text: format!("{word}: {why}"),
            exit_code: 255,
            ends_restore: false,
        }
    }

    /// What ipvsadm exits with.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Whether `-R` reads no further after a line with it.
    pub fn ends_restore(&self) -> bool {
        self.ends_restore
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for UsageError {}
