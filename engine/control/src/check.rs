//! `GET /v1/checks`: health checks, and what they have found.

use serde::{Deserialize, Serialize};

/// A service whose servers are checked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceChecks {
    /// What names it.
    pub service: String,
    /// What servers are asked: `tcp`, `http`, `https`, `udp`, `icmp`, `dns`, `vip`, `script`, `own` where some have checks of their
    /// own, `passive` where their clients' packets are judged; several with `+` between.
    pub r#type: String,
    /// From one question to the next, of the most frequent ones.
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
    /// `up`; `down`; `starting`: up, and getting its weight back step by step; `suspect`: up, with less than its weight for
    /// what its clients' packets show.
    pub state: String,
    /// Seconds since it became up or down; since it is checked, if it never changed.
    pub since_seconds: u64,
    /// The weight that schedulers see.
    pub weight: u32,
    /// The weight that it was given, and has when nothing is in the way.
    pub given_weight: u32,
    /// Whether it is out of the service, as `on_failure = "remove"` has it.
    pub removed: bool,
    /// Why the last answer was bad, if it was; of several checks, all that were.
    pub failure: Option<String>,
    /// What its clients' packets show, where they are judged.
    pub passive: Option<PassiveCheck>,
    /// How long the last answer took; none yet: null.
    pub last_seconds: Option<f64>,
    /// Good answers.
    pub passed: u64,
    /// Bad answers.
    pub failed: u64,
    /// Times that it went up or down.
    pub changes: u64,
}

/// What clients' packets show of a server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PassiveCheck {
    /// Why it has less than its weight, if it is a suspect.
    pub suspicion: Option<String>,
    /// TCP conns whose SYN it answered, to the end of the last window.
    pub answered: u64,
    /// Those whose client asked again, or went away, without an answer.
    pub unanswered: u64,
    /// Those that it refused or broke off with RST.
    pub resets: u64,
}
