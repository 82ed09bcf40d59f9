//! Health checks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lb::{Limit, Member, ServiceId};
use lb_control::{ServerCheck, ServiceChecks};

use super::office::Office;
use super::refusal::{Refused, wait_for};
use crate::health::{Book, HealthPlan};

/// Health checks, and what they have found
#[utoipa::path(get, path = "/v1/checks", responses((status = 200, body = Vec<ServiceChecks>)))]
pub async fn checks(
    State(office): State<Arc<Office>>,
) -> Result<Json<Vec<ServiceChecks>>, Refused> {
    wait_for(move || {
        let plan = office.health.plan().clone();
        let members: Vec<(ServiceId, Vec<Member>)> = office.engine.look(|table| {
            let services = table.services().iter().map(|service| service.id());
            let checked = services.filter(|id| plan.contains_key(id));
            let members = checked.map(|id| (id, table.members(id).unwrap_or_default()));
            members.collect()
        });
        let book = office.health.book();
        let services = members.iter();
        services
            .map(|(id, members)| service(*id, members, &plan, &book))
            .collect()
    })
    .await
}

fn service(id: ServiceId, members: &[Member], plan: &HealthPlan, book: &Book) -> ServiceChecks {
    let health = &plan[&id];
    let policy = &health.policy;
    let servers = members.iter().filter_map(|member| {
        let entry = book.servers.get(&(id, member.rip))?;
        Some(ServerCheck {
            server: member.rip.to_string(),
            state: entry.state_name().to_owned(),
            since_seconds: entry.since.elapsed().as_secs(),
            weight: member.weight,
            given_weight: member.given,
            removed: member.limit == Limit::Out,
            failure: entry.failure.clone(),
            last_seconds: entry.took.map(|took| took.as_secs_f64()),
            passed: entry.passed,
            failed: entry.failed,
            changes: entry.changes,
        })
    });
    ServiceChecks {
        service: id.to_string(),
        r#type: health.check.probe.name().to_owned(),
        interval_seconds: health.check.interval.as_secs_f64(),
        quorum: policy.quorum,
        quorum_met: book.quorums.get(&id).copied().unwrap_or(true),
        sorry_server: policy
            .sorry_server
            .as_ref()
            .map(|sorry| sorry.rip.to_string()),
        servers: servers.collect(),
    }
}
