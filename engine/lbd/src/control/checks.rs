//! Health checks.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use lb::{Limit, Member, ServiceId};
use lb_checks::{Check, ServiceHealth};
use lb_control::{PassiveCheck, ServerCheck, ServiceChecks};

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
        // Before the weights: they are changed first.
        let book = office.health.book().clone();
        let members: Vec<(ServiceId, Vec<Member>)> = office.engine.look(|table| {
            let services = table.services().iter().map(|service| service.id());
            let checked = services.filter(|id| plan.contains_key(id));
            let members = checked.map(|id| (id, table.members(id).unwrap_or_default()));
            members.collect()
        });
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
            failure: entry.failure(),
            passive: entry.conduct.map(|conduct| PassiveCheck {
                suspicion: entry.suspicion.clone(),
                answered: conduct.answered,
                unanswered: conduct.unanswered,
                resets: conduct.resets,
            }),
            last_seconds: entry.took.map(|took| took.as_secs_f64()),
            passed: entry.passed,
            failed: entry.failed,
            changes: entry.changes,
        })
    });
    ServiceChecks {
        service: id.to_string(),
        r#type: kinds(health),
        interval_seconds: interval(health).as_secs_f64(),
        quorum: policy.quorum,
        quorum_met: book.quorums.get(&id).copied().unwrap_or(true),
        sorry_server: policy
            .sorry_server
            .as_ref()
            .map(|sorry| sorry.rip.to_string()),
        servers: servers.collect(),
    }
}

/// What servers are asked, like `http+icmp`.
fn kinds(health: &ServiceHealth) -> String {
    let checks = health.checks.iter().map(|check| check.probe.name());
    let own = health.own_checks.values().next().map(|_| "own");
    let passive = health.passive.as_ref().map(|_| "passive");
    let kinds: Vec<&str> = checks.chain(own).chain(passive).collect();
    kinds.join("+")
}

/// How often the most frequent question is asked.
fn interval(health: &ServiceHealth) -> Duration {
    let own = health.own_checks.values().flatten();
    let checks = health.checks.iter().chain(own);
    let intervals = checks.map(|check: &Arc<Check>| check.interval);
    let windows = health.passive.iter().map(|passive| passive.window);
    intervals.min().or(windows.min()).unwrap_or_default()
}
