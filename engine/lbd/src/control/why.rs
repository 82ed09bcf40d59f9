//! Why a packet goes where it goes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lb::{Choice, Endpoint, FlowKey, Protocol, PuntReason};
use lb_control::{Decision, Hop, Rewritten, Why, WhyQuery, WhyWorker};

use super::conns::conn;
use super::office::Office;
use super::refusal::{Query, Refused, wait_for};
use super::services::server;

/// Why a packet goes where it goes: its conn, or what would be decided if it opened one
#[utoipa::path(
    get,
    path = "/v1/why",
    params(WhyQuery),
    responses((status = 200, body = Why))
)]
pub async fn why(
    State(office): State<Arc<Office>>,
    Query(query): Query<WhyQuery>,
) -> Result<Json<Why>, Refused> {
    let flow = flow(&query)?;
    wait_for(move || {
        let workers = office.engine.why(flow);
        let service = office.engine.service_for(&flow);
        let servers = office.engine.look(|table| {
            let dests = service.iter().flat_map(|service| service.dests().iter());
            dests.map(|dest| server(table, dest, &[])).collect()
        });
        let workers = workers.iter().enumerate();
        Why {
            protocol: flow.protocol.to_string(),
            client: flow.source.to_string(),
            destination: flow.destination.to_string(),
            service: service.as_ref().map(|service| service.id().to_string()),
            scheduler: service.map(|service| service.settings().scheduler_name.clone()),
            servers,
            workers: workers
                .filter_map(|(number, why)| Some(worker(&office, number, why.as_ref()?)))
                .collect(),
        }
    })
    .await
}

fn flow(query: &WhyQuery) -> Result<FlowKey, Refused> {
    let end = |key, text: &String| -> Result<Endpoint, Refused> {
        text.parse()
            .map_err(|_| Refused::value(key, text, &"allowed: ADDRESS:PORT, like 192.0.2.7:40000"))
    };
    let protocol = match &query.protocol {
        None => Protocol::Tcp,
        Some(text) => text
            .parse()
            .map_err(|error| Refused::value("protocol", text, &error))?,
    };
    let flow = FlowKey {
        source: end("client", &query.client)?,
        destination: end("service", &query.service)?,
        protocol,
    };
    match flow.source.addr.is_v4() == flow.destination.addr.is_v4() {
        true => Ok(flow),
        false => Err(Refused::value(
            "service",
            &query.service,
            &"allowed: an address of the client's family",
        )),
    }
}

fn worker(office: &Office, number: usize, why: &lb::Why) -> WhyWorker {
    let modes = office.modes();
    let (verdict, reason) = match (&why.conn, &why.choice) {
        (Some(_), _) => ("conn", None),
        (None, Choice::Server(_)) => ("new", None),
        (None, Choice::Refused(reason)) => ("drop", Some(reason.name())),
        (None, Choice::NotOurs) => ("pass", Some(PuntReason::NotOurs.name())),
        (None, Choice::Untold) => ("untold", None),
    };
    let (rip, mode) = match (&why.conn, &why.choice) {
        (Some(conn), _) => (Some(conn.rip), Some(conn.mode)),
        (None, Choice::Server(dest)) => (Some(dest.rip()), Some(dest.mode())),
        _ => (None, None),
    };
    let named = mode.and_then(|mode| modes.get(usize::from(mode)).copied());
    WhyWorker {
        worker: number,
        verdict: verdict.to_owned(),
        reason: reason.map(str::to_owned),
        conn: why.conn.as_ref().map(|record| conn(record, &modes)),
        server: rip.map(|rip| rip.to_string()),
        mode: named.map(str::to_owned),
        kept_by_persistence: why.kept_by_persistence,
        rewritten: why.rewritten.map(|(source, destination)| Rewritten {
            source: source.to_string(),
            destination: destination.to_string(),
        }),
        next_hop: why.next_hop.as_ref().map(|hop| Hop {
            interface: hop.interface.clone(),
            mac: hop.mac.map(|mac| mac.to_string()),
        }),
        decisions: why.decisions.iter().map(decision).collect(),
    }
}

fn decision((age_seconds, decision): &(u64, lb::Decision)) -> Decision {
    Decision {
        age_seconds: *age_seconds,
        protocol: decision.flow.protocol.to_string(),
        client: decision.flow.source.to_string(),
        destination: decision.flow.destination.to_string(),
        server: decision.outcome.ok().map(|rip| rip.to_string()),
        reason: decision.outcome.err().map(|reason| reason.to_string()),
    }
}
