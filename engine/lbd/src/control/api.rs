//! Which requests there are.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use hyper::StatusCode;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::office::Office;
use super::refusal::Refused;
use super::{capture, change, checks, conns, health, ipvsadm, services, status, why};

#[derive(OpenApi)]
#[openapi(info(
    title = "lbd",
    description = "The control socket of lbd, a layer-4 load balancer."
))]
struct Document;

/// All requests, and at `/openapi.json` their description.
pub fn router(office: Arc<Office>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(status::status))
        .routes(routes!(status::counters))
        .routes(routes!(health::health))
        .routes(routes!(health::standby))
        .routes(routes!(services::services))
        .routes(routes!(checks::checks))
        .routes(routes!(conns::conns))
        .routes(routes!(conns::count))
        .routes(routes!(why::why))
        .routes(routes!(capture::capture))
        .routes(routes!(change::plan))
        .routes(routes!(change::reload))
        .routes(routes!(change::config))
        .routes(routes!(change::drain, change::drains))
        .routes(routes!(ipvsadm::ipvsadm))
        .split_for_parts();
    router
        .route("/openapi.json", get(async || Json(document)))
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_so)
        .with_state(office)
}

async fn nothing_there() -> Refused {
    Refused::new(
        StatusCode::NOT_FOUND,
        "no such path; /openapi.json names all",
    )
}

async fn not_so() -> Refused {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the path does not take this method; /openapi.json names those it takes",
    )
}
