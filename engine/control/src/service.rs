//! `GET /v1/services`: virtual services and their real servers.

use serde::{Deserialize, Serialize};

/// A virtual service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Service {
    /// What names it, like `tcp 198.51.100.10:80` or `mark 7`.
    pub service: String,
    /// Its scheduler.
    pub scheduler: String,
    /// Seconds that clients stay with their server.
    pub persistence_seconds: Option<u64>,
    /// Whether each datagram is scheduled for itself.
    pub one_packet: bool,
    /// Conns opened, packets and bytes since it was made or zeroed.
    pub totals: Traffic,
    /// The same per second, as IPVS estimates it.
    pub rates: Traffic,
    /// Its real servers, the one added last first.
    pub servers: Vec<Server>,
}

/// A real server of a service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Server {
    /// RIP:rport.
    pub server: String,
    /// Its forwarding mode.
    pub mode: String,
    /// Its weight; 0 gets no new conns.
    pub weight: u32,
    /// With so many conns it gets no new ones; 0: any number.
    pub upper_threshold: u32,
    /// With fewer than this it gets new ones again.
    pub lower_threshold: u32,
    /// Whether it has reached the upper threshold and not yet fallen below the lower one.
    pub overloaded: bool,
    /// Conns in an active state.
    pub active: u32,
    /// All other conns.
    pub inactive: u32,
    /// Clients that persistence keeps with it.
    pub persistent: u32,
    /// What its health check takes it for: `up`, `starting` or `down`; none is checked: null.
    #[serde(default)]
    pub check: Option<String>,
    /// Conns opened, packets and bytes since it was added or zeroed.
    pub totals: Traffic,
    /// The same per second, as IPVS estimates it.
    pub rates: Traffic,
}

/// What IPVS counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Conns opened.
    pub conns: u64,
    /// Packets of clients.
    pub in_packets: u64,
    /// Packets of servers, where they pass the balancer.
    pub out_packets: u64,
    /// Bytes of clients, with IP headers.
    pub in_bytes: u64,
    /// Bytes of servers.
    pub out_bytes: u64,
}
