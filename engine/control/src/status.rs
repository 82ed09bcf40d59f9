//! `GET /v1/status` and `GET /v1/counters`: how the daemon is.

use serde::{Deserialize, Serialize};

/// How the daemon is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The interfaces that it balances on; none: it keeps its tables and balances nothing.
    pub interfaces: Vec<String>,
    /// Workers at work.
    pub workers: usize,
    /// Whether they look for packets all the time rather than sleep until there are some.
    #[serde(default)]
    pub busy_poll: bool,
    /// Virtual services.
    pub services: usize,
    /// Real servers, counted once for each service that has them.
    pub servers: usize,
    /// Servers whose health is checked, counted likewise.
    pub checked: usize,
    /// Those of them that are down.
    pub down: usize,
    /// Those of them that have less than their weight for what their clients' packets show.
    pub suspects: usize,
    /// Conns.
    pub conns: u64,
    /// Conns that each worker has room for.
    pub capacity: u32,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames left to the kernel.
    pub passed: u64,
    /// Frames that ended in the balancer.
    pub dropped: u64,
}

/// One counter of the balancer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counter {
    /// Its name, as in the documentation and the metrics.
    pub name: String,
    /// The sum over all workers.
    pub value: u64,
    /// Of each worker.
    pub workers: Vec<u64>,
    /// What it means, where that is a reason for not forwarding.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub meaning: Option<String>,
}
