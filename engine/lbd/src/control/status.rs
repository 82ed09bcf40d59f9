//! How the daemon is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lb_control::{Counter, Status};

use super::office::Office;
use super::refusal::{Refused, wait_for};

/// How the daemon is
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub async fn status(State(office): State<Arc<Office>>) -> Result<Json<Status>, Refused> {
    wait_for(move || {
        let engine = &office.engine;
        let counters = engine.counters();
        let (services, servers) = engine.look(|table| {
            let services = table.services();
            let servers = services.iter().map(|service| service.dests().len()).sum();
            (services.len(), servers)
        });
        let book = office.health.book();
        let states: Vec<&str> = book.states().into_values().collect();
        drop(book);
        let count = |wanted| states.iter().filter(|state| **state == wanted).count();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: office.started.elapsed().as_secs(),
            interfaces: engine.config().engine.interfaces,
            workers: engine.askers().len(),
            busy_poll: office.sockets.as_ref().is_some_and(|s| s.busy_poll()),
            services,
            servers,
            checked: states.len(),
            down: count("down"),
            suspects: count("suspect"),
            conns: engine.conn_count(),
            capacity: engine.capacity(),
            received: counters.of(lb::Counter::Rx),
            sent: counters.of(lb::Counter::Tx),
            passed: counters.punted(),
            dropped: counters.dropped(),
        }
    })
    .await
}

/// All counters
#[utoipa::path(get, path = "/v1/counters", responses((status = 200, body = Vec<Counter>)))]
pub async fn counters(State(office): State<Arc<Office>>) -> Json<Vec<Counter>> {
    let sum = office.engine.counters();
    let workers = office.engine.worker_counters();
    let counters = lb::Counter::all().map(|counter| Counter {
        name: counter.to_string(),
        value: sum.of(counter),
        workers: workers.iter().map(|worker| worker.of(counter)).collect(),
        meaning: match counter {
            lb::Counter::Drop(reason) => Some(reason.describe().to_owned()),
            lb::Counter::Punt(reason) => Some(reason.describe().to_owned()),
            _ => None,
        },
    });
    Json(counters.collect())
}
