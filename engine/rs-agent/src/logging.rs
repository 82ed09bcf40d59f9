//! What the agent says while it runs: to stderr, for the service manager to keep, which adds the time itself.

use std::io::stderr;

/// From now on messages are shown.
pub fn start() {
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
}
