//! Virtual services and their servers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lb::{Dest, ServiceTable, VirtualService};
use lb_control::{Server, Service, Traffic};
use lb_ipvsadm::{Ipvs, ServerRow};

use super::office::Office;
use super::refusal::{Refused, wait_for};
use crate::administration::Administration;

/// Virtual services with their real servers
#[utoipa::path(get, path = "/v1/services", responses((status = 200, body = Vec<Service>)))]
pub async fn services(State(office): State<Arc<Office>>) -> Result<Json<Vec<Service>>, Refused> {
    wait_for(move || listed(&office)).await
}

/// All services in the order in which they were added.
pub fn listed(office: &Office) -> Vec<Service> {
    let conns = office.conns();
    let mut administration = Administration::new(&office.engine, &conns, &office.sync_daemons);
    let mut rows = administration.services().unwrap_or_default();
    rows.reverse();
    let states = office.health.book().states();
    office.engine.look(|table| {
        // A service that came in between has no counts yet.
        let rows = rows.into_iter().map(Some).chain(std::iter::repeat(None));
        let services = table.services().iter().zip(rows);
        services
            .map(|(service, row)| {
                let row =
                    row.filter(|row| crate::administration::service_id(&row.id) == service.id());
                let (totals, rates, counted) = match row {
                    Some(row) => (traffic(&row.totals), traffic(&row.rates), row.servers),
                    None => (Traffic::default(), Traffic::default(), Vec::new()),
                };
                let mut described = described(table, service, &counted);
                for (server, dest) in described.servers.iter_mut().zip(service.dests().iter()) {
                    let state = states.get(&(service.id(), dest.rip()));
                    server.check = state.map(|state| (*state).to_owned());
                }
                Service {
                    totals,
                    rates,
                    ..described
                }
            })
            .collect()
    })
}

/// A service without its own counts.
fn described(table: &ServiceTable, service: &VirtualService, counted: &[ServerRow]) -> Service {
    let settings = service.settings();
    let persistence = settings.persistence.as_ref();
    let servers = service.dests().iter();
    Service {
        service: service.id().to_string(),
        scheduler: settings.scheduler_name.clone(),
        persistence_seconds: persistence.map(|persistence| persistence.timeout.as_secs()),
        one_packet: settings.one_packet,
        totals: Traffic::default(),
        rates: Traffic::default(),
        servers: servers.map(|dest| server(table, dest, counted)).collect(),
    }
}

/// A server, with its counts if they are among these.
pub fn server(table: &ServiceTable, dest: &Dest, counted: &[ServerRow]) -> Server {
    let thresholds = dest.thresholds();
    let row = counted
        .iter()
        .find(|row| lb::Endpoint::from(row.settings.address) == dest.rip());
    Server {
        server: dest.rip().to_string(),
        mode: table.mode_name(dest).to_owned(),
        weight: dest.weight(),
        upper_threshold: thresholds.upper,
        lower_threshold: thresholds.lower,
        overloaded: dest.is_overloaded(),
        active: dest.active(),
        inactive: dest.inactive(),
        persistent: dest.persistent(),
        check: None,
        totals: row.map(|row| traffic(&row.totals)).unwrap_or_default(),
        rates: row.map(|row| traffic(&row.rates)).unwrap_or_default(),
    }
}

fn traffic(row: &lb_ipvsadm::Traffic) -> Traffic {
    Traffic {
        conns: row.conns,
        in_packets: row.in_packets,
        out_packets: row.out_packets,
        in_bytes: row.in_bytes,
        out_bytes: row.out_bytes,
    }
}
