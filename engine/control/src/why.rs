//! `GET /v1/why`: why a packet goes where it goes.

use serde::{Deserialize, Serialize};

use crate::{Conn, Server};

/// Which packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct WhyQuery {
    /// CIP:cport.
    pub client: String,
    /// VIP:vport.
    pub service: String,
    /// `tcp`, if it is left out, or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// What is known of a packet from this client to this address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// CIP:cport.
    pub client: String,
    /// Where it is addressed to.
    pub destination: String,
    /// The service that takes it; none: it is the kernel's.
    pub service: Option<String>,
    /// The service's scheduler.
    pub scheduler: Option<String>,
    /// The service's servers, with what the scheduler goes by.
    pub servers: Vec<Server>,
    /// What each worker would do; a packet comes to the one whose queue the NIC chooses.
    pub workers: Vec<WhyWorker>,
}

/// What one worker would do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhyWorker {
    /// Its number.
    pub worker: usize,
    /// `conn`: the packet is of this conn. `new`: it would open one. `drop`: it would be dropped. `pass`: it is left
    /// to the kernel. `untold`: the scheduler decides when it comes.
    pub verdict: String,
    /// Why it would be dropped or passed.
    pub reason: Option<String>,
    /// The conn that it belongs to.
    pub conn: Option<Conn>,
    /// RIP:rport of the server.
    pub server: Option<String>,
    /// Its forwarding mode.
    pub mode: Option<String>,
    /// Whether persistence keeps the client with the server.
    pub kept_by_persistence: bool,
    /// What the server sees: source and destination.
    pub rewritten: Option<Rewritten>,
    /// The way to the server.
    pub next_hop: Option<Hop>,
    /// Last decisions about this client or this service, the latest first.
    pub decisions: Vec<Decision>,
}

/// A packet's ends after the forwarding mode.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rewritten {
    /// Its source.
    pub source: String,
    /// Its destination.
    pub destination: String,
}

/// The way to a server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hop {
    /// The interface.
    pub interface: String,
    /// The next hop's MAC; none while the kernel is asked for it.
    pub mac: Option<String>,
}

/// What was decided about the first packet of a flow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    /// Seconds ago.
    pub age_seconds: u64,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// CIP:cport.
    pub client: String,
    /// VIP:vport.
    pub destination: String,
    /// RIP:rport of the server it went to.
    pub server: Option<String>,
    /// Why it went to none.
    pub reason: Option<String>,
}
