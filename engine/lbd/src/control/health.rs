//! Whether this balancer should have the traffic: what keepalived and whoever announces routes go by.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use hyper::StatusCode;
use lb::{Endpoint, Engine, ServiceId};
use lb_control::{Health, HealthQuery, StandbyRequest};

use super::office::{Office, Peer};
use super::refusal::{Body, Query, Refused, wait_for};

/// Whether this balancer should have the traffic
#[utoipa::path(get, path = "/v1/health", params(HealthQuery), responses((status = 200, body = Health)))]
pub async fn health(
    State(office): State<Arc<Office>>,
    Query(query): Query<HealthQuery>,
) -> Result<Json<Health>, Refused> {
    let vip = match &query.service {
        None => None,
        Some(text) => {
            let parsed = text.parse::<Endpoint>();
            Some(parsed.map_err(|error| Refused::value("service", text, &error))?)
        }
    };
    wait_for(move || of(&office.engine, vip)).await
}

/// Leaves the traffic to other balancers, or takes it back
#[utoipa::path(
    post,
    path = "/v1/standby",
    request_body = StandbyRequest,
    responses((status = 200, body = Health))
)]
pub async fn standby(
    State(office): State<Arc<Office>>,
    Extension(peer): Extension<Peer>,
    Body(request): Body<StandbyRequest>,
) -> Result<Json<Health>, Refused> {
    tracing::info!(
        "{peer}: standby{}",
        if request.undo { " --undo" } else { "" }
    );
    let Json(health) = wait_for(move || {
        let set = office.engine.set_standby(!request.undo);
        set.map(|()| of(&office.engine, None))
    })
    .await?;
    health
        .map(Json)
        .map_err(|error| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

/// A daemon that answers has all its workers: it ends when one of them does.
fn of(engine: &Engine, vip: Option<Endpoint>) -> Health {
    let mut reasons = Vec::new();
    if engine.is_on_standby() {
        reasons.push("on standby".to_owned());
    }
    if let Some(vip) = vip {
        let alive = engine.look(|table| {
            let mut services = table.services().iter().filter(
                |service| matches!(service.id(), ServiceId::Address(key) if key.vip == vip),
            );
            services.any(|service| service.dests().iter().any(|dest| dest.weight() > 0))
        });
        if !alive {
            reasons.push(format!("service {vip} has no server that takes conns"));
        }
    }
    Health {
        healthy: reasons.is_empty(),
        reasons,
    }
}
