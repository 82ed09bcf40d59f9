//! `GET /v1/health` and `POST /v1/standby`: whether other balancers should have the traffic.

use serde::{Deserialize, Serialize};

/// Of which service to tell, too.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct HealthQuery {
    /// VIP:vport, of whichever protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// Whether this balancer should have the traffic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// Whether it should.
    pub healthy: bool,
    /// Why it should not.
    pub reasons: Vec<String>,
}

/// Leaves the traffic to other balancers, or takes it back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StandbyRequest {
    /// Takes it back instead.
    #[serde(default)]
    pub undo: bool,
}
