//! Numbers for Prometheus: worked out when somebody asks, over HTTP.
//!
//! `/metrics` has lbd's own names, `/metrics/ipvs` those that node_exporter gives to the kernel's IPVS, for dashboards that
//! exist.

mod checks;
mod hand_overs;
mod ipvs;
mod machinery;
mod own;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lb::Engine;
use lb::live::Sockets;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::reloads::Reloads;
use checks::CheckMetrics;
use ipvs::IpvsMetrics;
use own::OwnMetrics;

/// What prometheus-client writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where numbers come from.
pub struct Sources {
    pub engine: Arc<Engine>,
    pub health: Arc<Health>,
    pub reloads: Arc<Reloads>,
    /// None where there are no interfaces.
    pub sockets: Option<Arc<Sockets>>,
}

/// Offers the numbers at `address` for as long as it is polled.
pub async fn serve(listener: TcpListener, sources: Sources) {
    let ipvs = Arc::new(registry(IpvsMetrics(Arc::clone(&sources.engine))));
    let checks = CheckMetrics(Arc::clone(&sources.health));
    let mut own = registry(OwnMetrics::of(sources));
    own.register_collector(Box::new(checks));
    let own = Arc::new(own);
    let router = Router::new()
        .route("/metrics", get(scrape).with_state(own))
        .route("/metrics/ipvs", get(scrape).with_state(ipvs));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("metrics are not offered any more: {error}");
    }
}

/// Begins to listen.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("metrics.address: cannot listen on {address}"))?;
    let bound = listener.local_addr().unwrap_or(address);
    tracing::info!("metrics on http://{bound}/metrics");
    if !address.ip().is_loopback() {
        tracing::warn!("metrics on {address} can be read by whoever reaches it");
    }
    Ok(listener)
}

fn registry(collector: impl Collector) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    registry
}

async fn scrape(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
