//! `GET /v1/checks`: health checks, and what they have found.

use serde::{Deserialize, Serialize};

/// A service whose servers are checked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceChecks {
    /// What names it.
    pub service: String,
    /// The kind of check: `tcp`, `http`, `https`, `udp`, `icmp`, `dns` or `script`.
    pub r#type: String,
    /// From one question to the next.
    pub interval_seconds: f64,
    /// The sum of weights of good servers that the service needs.
    pub quorum: u32,
    /// Whether it has it.
    pub quorum_met: bool,
    /// Who serves while it has not.
    pub sorry_server: Option<String>,
    /// Its servers.
    pub servers: Vec<ServerCheck>,
}

/// A server that is checked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerCheck {
    /// RIP:rport.
    pub server: String,
    /// `up`, `down`, or `starting`: up, and getting its weight back step by step.
    pub state: String,
    /// Seconds since it became up or down; since it is checked, if it never changed.
    pub since_seconds: u64,
    /// The weight that schedulers see.
    pub weight: u32,
    /// The weight that it was given, and has when nothing is in the way.
    pub given_weight: u32,
    /// Whether it is out of the service, as `on_failure = "remove"` has it.
    pub removed: bool,
    /// Why the last answer was bad, if it was.
    pub failure: Option<String>,
    /// How long the last answer took; none yet: null.
    pub last_seconds: Option<f64>,
    /// Good answers.
    pub passed: u64,
    /// Bad answers.
    pub failed: u64,
    /// Times that it went up or down.
    pub changes: u64,
}
