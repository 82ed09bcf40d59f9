//! Conns, as the workers have them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use lb::{ConnFilter, ConnRecord, ConnState, EndpointFilter};
use lb_control::{Conn, ConnCount, ConnQuery};

use super::office::Office;
use super::refusal::{Query, Refused, wait_for};
use super::stream::{self, LINES, Lines};

/// Conns, one JSON object a line, in no particular order
#[utoipa::path(
    get,
    path = "/v1/conns",
    params(ConnQuery),
    responses((status = 200, body = Conn, content_type = "application/x-ndjson"))
)]
pub async fn conns(
    State(office): State<Arc<Office>>,
    Query(query): Query<ConnQuery>,
) -> Result<Response, Refused> {
    let filter = filter(&query)?;
    Ok(stream::answer(LINES, move |pieces| {
        let modes = office.modes();
        let mut lines = Lines::to(pieces);
        let mut left = query.limit.unwrap_or(u64::MAX);
        office.engine.conns(filter, &mut |record| {
            let Some(rest) = left.checked_sub(1) else {
                return false;
            };
            left = rest;
            lines.put(&conn(&record, &modes)).is_ok()
        });
        // It fails when the client has gone away or is stuck.
        let _ = lines.send();
    }))
}

/// How many conns there are
#[utoipa::path(
    get,
    path = "/v1/conns/count",
    params(ConnQuery),
    responses((status = 200, body = ConnCount))
)]
pub async fn count(
    State(office): State<Arc<Office>>,
    Query(query): Query<ConnQuery>,
) -> Result<Json<ConnCount>, Refused> {
    let filter = filter(&query)?;
    wait_for(move || {
        let count = match filter == ConnFilter::default() {
            true => office.engine.conn_count(),
            false => office.engine.count_conns(filter),
        };
        ConnCount {
            count: count.min(query.limit.unwrap_or(u64::MAX)),
        }
    })
    .await
}

/// A conn as it is told; `modes` are the names of modes by their numbers.
pub fn conn(record: &ConnRecord, modes: &[&'static str]) -> Conn {
    Conn {
        protocol: record.flow.protocol.to_string(),
        state: record.state.to_string(),
        expires_seconds: record.expires_s,
        client: record.flow.source.to_string(),
        service: record.flow.destination.to_string(),
        server: record.rip.to_string(),
        local: record.local.map(|local| local.to_string()),
        mode: modes
            .get(usize::from(record.mode))
            .copied()
            .unwrap_or_default()
            .to_owned(),
        worker: record.worker,
    }
}

/// What a query asks for.
pub fn filter(query: &ConnQuery) -> Result<ConnFilter, Refused> {
    let end = |key: &str, text: &Option<String>| -> Result<Option<EndpointFilter>, Refused> {
        let wrong = |text, error| Refused::value(key, text, &error);
        text.as_ref()
            .map(|text| text.parse().map_err(|error| wrong(text, error)))
            .transpose()
    };
    let state = query.state.as_ref().map(|text| {
        let found = ConnState::ALL
            .into_iter()
            .find(|state| state.to_string().eq_ignore_ascii_case(text));
        let names = || ConnState::ALL.map(|state| state.to_string()).join(", ");
        found.ok_or_else(|| Refused::value("state", text, &format!("allowed: {}", names())))
    });
    let protocol = query.protocol.as_ref().map(|text| {
        text.parse()
            .map_err(|error| Refused::value("protocol", text, &error))
    });
    Ok(ConnFilter {
        protocol: protocol.transpose()?,
        state: state.transpose()?,
        client: end("client", &query.client)?,
        vip: end("service", &query.service)?,
        server: end("server", &query.server)?,
    })
}
