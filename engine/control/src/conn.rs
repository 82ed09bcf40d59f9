//! `GET /v1/conns`: conns as they are.

use serde::{Deserialize, Serialize};

/// Which conns; what is left out does not matter. Ends are `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1:80`, `:80`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct ConnQuery {
    /// `tcp` or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// A state as ipvsadm has it, like `ESTABLISHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The client's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The service's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The real server's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// No more than so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// A conn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conn {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Its state, as ipvsadm has it.
    pub state: String,
    /// Seconds that it lives on without a packet.
    pub expires_seconds: u32,
    /// CIP:cport.
    pub client: String,
    /// VIP:vport.
    pub service: String,
    /// RIP:rport.
    pub server: String,
    /// The source that the server sees in place of the client, in FNAT and ENAT.
    pub local: Option<String>,
    /// Its forwarding mode.
    pub mode: String,
    /// The worker that has it.
    pub worker: usize,
}

/// `GET /v1/conns/count`: how many.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnCount {
    /// Conns that match.
    pub count: u64,
}
