//! Other configurations, and servers that are to go.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use hyper::StatusCode;
use lb::{Change, ServerAddress};
use lb_config::Settings;
use lb_control::{Drain, DrainRequest, Plan, PlanRequest};

use super::office::{Changes, Office, Peer};
use super::refusal::{Body, Refused, wait_for};

/// What another configuration would change
#[utoipa::path(
    post,
    path = "/v1/plan",
    request_body = PlanRequest,
    responses((status = 200, body = Plan))
)]
pub async fn plan(
    State(office): State<Arc<Office>>,
    Body(request): Body<PlanRequest>,
) -> Result<Json<Plan>, Refused> {
    let compared = wait_for(move || -> Result<Changes, String> {
        let settings = lb_config::parse(request.name, request.text).map_err(|e| e.to_string())?;
        office.plan(&settings)
    });
    let Json(compared) = compared.await?;
    Ok(Json(told(&compared.map_err(unusable)?)))
}

/// Puts the configuration file into force as it is now, whole or not at all
#[utoipa::path(post, path = "/v1/reload", responses((status = 200, body = Plan)))]
pub async fn reload(
    State(office): State<Arc<Office>>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Plan>, Refused> {
    tracing::info!("{peer}: reload");
    let Json(applied) = wait_for(move || office.reload()).await?;
    Ok(Json(told(&applied.map_err(unusable)?)))
}

/// The configuration in force, edits included, as a file
#[utoipa::path(
    get,
    path = "/v1/config",
    responses((status = 200, body = String, content_type = "application/toml"))
)]
pub async fn config(
    State(office): State<Arc<Office>>,
) -> ([(&'static str, &'static str); 1], String) {
    let settings = Settings {
        balancer: office.engine.config(),
        health: office.health.plan().clone(),
        ..office.settings.clone()
    };
    (
        [("content-type", "application/toml")],
        lb_config::write(&settings),
    )
}

/// Takes new conns from a server, or gives them back
#[utoipa::path(
    post,
    path = "/v1/drain",
    request_body = DrainRequest,
    responses((status = 200, body = Vec<Drain>))
)]
pub async fn drain(
    State(office): State<Arc<Office>>,
    Extension(peer): Extension<Peer>,
    Body(request): Body<DrainRequest>,
) -> Result<Json<Vec<Drain>>, Refused> {
    tracing::info!(
        "{peer}: drain {}{}",
        request.server,
        if request.undo { " --undo" } else { "" }
    );
    let server: ServerAddress = request
        .server
        .parse()
        .map_err(|error| Refused::value("server", &request.server, &error))?;
    let drained = office.engine.edit(|table| match request.undo {
        false => table.drain(&server),
        true => table.undrain(&server),
    });
    let drained = drained.map_err(|_| {
        let error = format!("no service has a server {}", request.server);
        Refused::new(StatusCode::NOT_FOUND, error)
    })?;
    Ok(Json(drained.iter().map(one).collect()))
}

/// Servers that are being drained, with the conns that are left
#[utoipa::path(get, path = "/v1/drain", responses((status = 200, body = Vec<Drain>)))]
pub async fn drains(State(office): State<Arc<Office>>) -> Json<Vec<Drain>> {
    let drains = office.engine.look(lb::ServiceTable::drains);
    Json(drains.iter().map(one).collect())
}

fn one(drain: &lb::Drain) -> Drain {
    Drain {
        service: drain.service.to_string(),
        server: drain.rip.to_string(),
        weight: drain.weight,
        active: drain.active,
        inactive: drain.inactive,
        persistent: drain.persistent,
    }
}

fn unusable(error: String) -> Refused {
    Refused::new(StatusCode::UNPROCESSABLE_ENTITY, error)
}

/// All that is wrong with a configuration, a line each.
pub fn joined(errors: &[lb::ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn told(Changes { difference, checks }: &Changes) -> Plan {
    let mut changes = Vec::new();
    for service in &difference.services {
        let id = service.id;
        match &service.change {
            Change::Added => changes.push(format!("+ {id}")),
            Change::Removed => changes.push(format!("- {id}")),
            Change::Changed(settings) => changes.extend(
                settings
                    .iter()
                    .map(|s| format!("~ {id}: {}: {} -> {}", s.key, s.from, s.to)),
            ),
        }
        for server in &service.servers {
            let (rip, conns) = (server.rip, server.conns);
            match &server.change {
                Change::Added => changes.push(format!("+ {id} server {rip}")),
                Change::Removed => changes.push(format!("- {id} server {rip} ({conns} conns)")),
                Change::Changed(settings) => changes.extend(settings.iter().map(|s| {
                    format!(
                        "~ {id} server {rip}: {}: {} -> {} ({conns} conns stay)",
                        s.key, s.from, s.to
                    )
                })),
            }
        }
    }
    changes.extend(
        difference
            .sections
            .iter()
            .map(|section| format!("~ [{section}]")),
    );
    changes.extend(checks.iter().cloned());
    Plan {
        changes,
        conns_lost: difference.conns_lost(),
        restart: difference.restart.iter().map(ToString::to_string).collect(),
    }
}
