//! `GET /v1/capture`: packets of chosen flows, as pcapng.

use serde::{Deserialize, Serialize};

/// Which packets; what is left out does not matter. Ends are `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1:80`, `:80`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct CaptureQuery {
    /// `tcp` or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The client's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The service's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The real server's end, of packets of conns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Only packets that were not forwarded.
    #[serde(default)]
    pub drops: bool,
    /// The capture ends after so many frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Bytes of each frame that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snap: Option<u32>,
}
