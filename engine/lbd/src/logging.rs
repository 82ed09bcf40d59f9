//! What the daemon says while it runs: to stderr, for the service manager to keep.

use std::env;
use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Which messages are shown; the second is the habit of Rust programs.
const VARIABLES: [&str; 2] = ["LBD_LOG", "RUST_LOG"];

const DEFAULT: &str = "info";

/// `json`: a line of JSON for each message, for machines.
const FORMAT: &str = "LBD_LOG_FORMAT";

/// From now on messages are shown, in colour where somebody can see it and has not forbidden it.
pub fn start() {
    let wish = VARIABLES
        .iter()
        .find_map(|name| Some((name, env::var(name).ok().filter(|v| !v.is_empty())?)));
    let (filter, complaint) = match &wish {
        None => (EnvFilter::new(DEFAULT), None),
        Some((name, value)) => match EnvFilter::try_new(value) {
            Ok(filter) => (filter, None),
            Err(error) => (
                EnvFilter::new(DEFAULT),
                Some(format!("{name}={value} is not a filter: {error}")),
            ),
        },
    };
    let colour = stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(colour)
        .with_target(false);
    if env::var(FORMAT).is_ok_and(|format| format == "json") {
        subscriber.json().flatten_event(true).init();
    } else {
        subscriber.init();
    }
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}
