//! Why a server did not pass.

use std::io;
use std::time::Duration;

/// Why a server did not pass, as logs and listings say it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// What the kernel says of the way there.
    #[error("{0}")]
    Network(String),
    /// The certificate, or how TLS is spoken.
    #[error("TLS: {0}")]
    Tls(String),
    /// What came is no HTTP.
    #[error("HTTP: {0}")]
    Http(String),
    /// The page has another status.
    #[error("status {got}, wanted {wanted}")]
    Status {
        /// What came.
        got: u16,
        /// What would have been good.
        wanted: String,
    },
    /// The answer is not what it should be.
    #[error("the {what} does not contain {wanted}")]
    Lacks {
        /// The body, or the answer.
        what: &'static str,
        /// What is missing there.
        wanted: String,
    },
    /// What the name server said.
    #[error("DNS: {0}")]
    Dns(&'static str),
    /// What the program ended with, and its first line.
    #[error("{0}")]
    Script(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            _ => Failure::Network(spoken(&error)),
        }
    }
}

/// As the C library says it, without the number that Rust adds.
fn spoken(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_said_in_the_words_of_the_field() {
        // ECONNREFUSED, EHOSTUNREACH, ECONNRESET.
        for (errno, expected) in [
            (111, "connection refused"),
            (113, "no route to host"),
            (104, "connection reset by peer"),
        ] {
            let failure = Failure::from(io::Error::from_raw_os_error(errno));
            assert_eq!(failure.to_string(), expected);
        }
        let silent = Failure::Silent(Duration::from_millis(1500));
        assert_eq!(silent.to_string(), "no answer within 1.5s");
    }
}
