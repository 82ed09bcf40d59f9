//! `POST /v1/plan`, `POST /v1/reload`, `POST /v1/drain`: other configurations, and servers that are to go.

use serde::{Deserialize, Serialize};

/// A configuration to compare with what is in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// What the text is called where it is wrong.
    pub name: String,
    /// The file.
    pub text: String,
}

/// What another configuration changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// Each service, server and section that comes, goes or changes, a line each.
    pub changes: Vec<String>,
    /// Conns of servers that go.
    pub conns_lost: u64,
    /// What cannot change without a restart; if there is any, nothing changes.
    pub restart: Vec<String>,
}

/// A server that is to get no new conns, or is to get them again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// `10.0.0.1:80`, or `10.0.0.1` for all its ports; in whichever services it is.
    pub server: String,
    /// Ends the drain instead: the server has its weight again.
    #[serde(default)]
    pub undo: bool,
}

/// A server in one service that is being drained.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drain {
    /// The service.
    pub service: String,
    /// RIP:rport.
    pub server: String,
    /// The weight that it had, and has again when the drain ends.
    pub weight: u32,
    /// Conns left in an active state.
    pub active: u32,
    /// All other conns left.
    pub inactive: u32,
    /// Clients that persistence keeps with it.
    pub persistent: u32,
}
