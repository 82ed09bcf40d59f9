//! Checkers as lbd has them: checks for all servers of a service, and others for those that are not as the first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb::{Endpoint, ServiceConfig};
use lb_checks::probe::dns::is_name;
use lb_checks::{
    Check, Dns, Http, Initial, OnFailure, Policy, Probe, RecordType, ServiceHealth, SorryServer,
    StatusSet, Tls, Udp,
};

use crate::checker::{Checker, Kind as CheckerKind, Timing, Url};
use crate::notify::notify;
use crate::real_server::RealServer;
use crate::report::{Kind, Report};
use crate::virtual_server::VirtualServer;

/// keepalived's, where nobody says otherwise.
const DELAY_LOOP: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY: u32 = 1;
const DNS_RETRY: u32 = 3;
const MISC_RETRY: u32 = 0;

/// What an interval or a time-out of lbd can be.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// As many bad answers in a row as lbd counts.
const MOST_FAILURES: u32 = 100;

/// How the servers of `service`, which has become `config`, are checked; `None`: not at all.
pub fn health(
    service: &VirtualServer,
    config: &ServiceConfig,
    report: &mut Report,
) -> Option<ServiceHealth> {
    let policy = policy(service, config, report);
    let mut all = Vec::new();
    for (server, at) in service.servers.iter().zip(&config.servers) {
        let checkers = server.checkers.iter();
        let checks = checkers.flat_map(|checker| checks(service, server, checker, report));
        let checks: Vec<_> = checks.map(Arc::new).collect();
        all.push((server, at.rip, checks));
    }
    let first = all.iter().find(|(.., checks)| !checks.is_empty());
    let Some(common) = first.map(|(.., checks)| checks.clone()) else {
        unchecked(service, report);
        return None;
    };
    let mut own_checks = BTreeMap::new();
    for (server, rip, checks) in all {
        let is_nameless =
            |check: &Arc<Check>| rip.port == 0 && check.probe.has_port() && check.port.is_none();
        let counting = if checks.is_empty() { &common } else { &checks };
        if counting.iter().any(is_nameless) {
            let reason = "a service for all ports is checked on one: say connect_port";
            report.add(Kind::Unused, &service.place, "checker", reason);
            return None;
        }
        if checks.is_empty() {
            let reason =
                "this server, which has no checker, is checked as the first one of its service";
            report.add(Kind::Changed, &server.place, "real_server", reason);
        } else if checks != common {
            own_checks.insert(rip, checks);
        }
    }
    Some(ServiceHealth {
        checks: common,
        own_checks,
        passive: None,
        policy,
    })
}

/// Without a check there is nothing for the rest to go by.
fn unchecked(service: &VirtualServer, report: &mut Report) {
    let keys = [
        ("quorum", service.quorum.is_some()),
        ("hysteresis", service.hysteresis.is_some()),
        ("sorry_server", service.sorry_server.is_some()),
        ("quorum_up", service.quorum_up.is_some()),
        ("quorum_down", service.quorum_down.is_some()),
    ];
    for (key, _) in keys.into_iter().filter(|(_, is_there)| *is_there) {
        let reason = "no server of this service is checked";
        report.add(Kind::Unused, &service.place, key, reason);
    }
}

fn policy(service: &VirtualServer, config: &ServiceConfig, report: &mut Report) -> Policy {
    let servers = service.servers.iter();
    let inhibits = |server: &RealServer| server.inhibit.or(service.inhibit).unwrap_or(false);
    let quiesces = servers.clone().any(inhibits);
    if quiesces && !servers.clone().all(inhibits) {
        let reason = "on_failure = \"quiesce\" is for all servers of a service";
        report.add(Kind::Changed, &service.place, "inhibit_on_failure", reason);
    }
    let sorry_server = service.sorry_server.as_ref().map(|sorry| {
        let method = sorry.method.unwrap_or(service.method);
        let port = match method.mode {
            "nat" => sorry.port.unwrap_or(config.id.port()),
            _ => config.id.port(),
        };
        let rip = Endpoint::new(sorry.addr, port);
        if config.servers.iter().any(|server| server.rip == rip) {
            let reason = "it is a server of this service already";
            report.add(
                Kind::Error,
                &sorry.place,
                format!("sorry_server {rip}"),
                reason,
            );
        }
        SorryServer {
            rip,
            mode: method.mode.to_owned(),
            tunnel: method.tunnel,
        }
    });
    Policy {
        on_failure: match quiesces {
            true => OnFailure::Quiesce,
            false => OnFailure::Remove,
        },
        initial: match service.timing.alpha.unwrap_or(false) {
            true => Initial::Down,
            false => Initial::Up,
        },
        quorum: service.quorum.unwrap_or(1),
        hysteresis: service.hysteresis.unwrap_or(0),
        sorry_server,
        notify: notify(service, config, report),
        ..Policy::default()
    }
}

/// What becomes of one checker: as a rule a check, and one for each page of an HTTP checker.
fn checks(
    service: &VirtualServer,
    server: &RealServer,
    checker: &Checker,
    report: &mut Report,
) -> Vec<Check> {
    let probes = probes(service, server, checker, report);
    if probes.is_empty() {
        return Vec::new();
    }
    let timing = checker.timing.within(server.timing).within(service.timing);
    if timing
        .delay_before_retry
        .is_some_and(|delay| Some(delay) != timing.delay_loop)
    {
        let reason = "lbd asks again after its interval, also after a failure";
        report.add(Kind::Changed, &checker.place, "delay_before_retry", reason);
    }
    if timing.warmup.is_some() {
        let reason = "first checks are spread over the interval";
        report.add(Kind::Unused, &checker.place, "warmup", reason);
    }
    if checker.connect_ip.is_some_and(|addr| addr != server.addr) {
        let reason = "lbd checks the server's own address";
        report.add(Kind::Unused, &checker.place, "connect_ip", reason);
    }
    let interval = timing.delay_loop.unwrap_or(DELAY_LOOP);
    let timeout = match &checker.kind {
        CheckerKind::Misc { timeout, .. } => {
            timeout.map_or(interval, |seconds| Duration::from_secs(seconds.into()))
        }
        _ => timing.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
    };
    let check = |probe: Probe| Check {
        interval: bounded(interval),
        timeout: bounded(timeout),
        rise: 1,
        fall: failures(&checker.kind, timing),
        port: checker
            .connect_port
            .filter(|port| *port > 0 && probe.has_port()),
        source: checker.bind_to.map(Into::into),
        ..Check::new(probe)
    };
    probes.into_iter().map(check).collect()
}

/// Whole milliseconds that lbd takes.
fn bounded(time: Duration) -> Duration {
    let whole = Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    whole.clamp(SHORTEST, LONGEST)
}

/// The first failure, and those that keepalived tries again.
fn failures(kind: &CheckerKind, timing: Timing) -> u32 {
    let usual = match kind {
        CheckerKind::Dns { .. } => DNS_RETRY,
        CheckerKind::Misc { .. } => MISC_RETRY,
        _ => RETRY,
    };
    timing
        .retry
        .unwrap_or(usual)
        .saturating_add(1)
        .min(MOST_FAILURES)
}

fn probes(
    service: &VirtualServer,
    server: &RealServer,
    checker: &Checker,
    report: &mut Report,
) -> Vec<Probe> {
    let CheckerKind::Http {
        tls,
        virtual_host,
        urls,
    } = &checker.kind
    else {
        return probe(checker, report).into_iter().collect();
    };
    if urls.is_empty() {
        let name = checker.kind.name();
        report.add(Kind::Unused, &checker.place, name, "it asks for no url");
    }
    let hosts = [virtual_host, &server.virtual_host, &service.virtual_host];
    let host = hosts.into_iter().flatten().next();
    let page = |url| page(url, host, *tls, report);
    urls.iter().filter_map(page).collect()
}

fn page(url: &Url, host: Option<&String>, tls: bool, report: &mut Report) -> Option<Probe> {
    let host = url.virtual_host.as_ref().or(host).cloned();
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !url.path.starts_with('/') || !is_plain(&url.path) {
        report.add(
            Kind::Error,
            &url.place,
            format!("path {}", url.path),
            "allowed: a path that begins with a slash",
        );
        return None;
    }
    if host.as_deref().is_some_and(|host| !is_plain(host)) {
        let allowed = "allowed: a host's name";
        report.add(Kind::Error, &url.place, "virtualhost", allowed);
        return None;
    }
    Some(Probe::Http(Http {
        tls: tls.then(Tls::default),
        path: url.path.clone(),
        host,
        status: status(url, report),
        body: body(url, report),
    }))
}

/// What is asked by any checker but those for pages.
fn probe(checker: &Checker, report: &mut Report) -> Option<Probe> {
    let mut note =
        |kind, reason: &str| report.add(kind, &checker.place, checker.kind.name(), reason);
    match &checker.kind {
        CheckerKind::Tcp => Some(Probe::Tcp),
        CheckerKind::Ping => Some(Probe::Icmp),
        CheckerKind::Smtp { .. } => {
            note(
                Kind::Changed,
                "lbd does not speak SMTP: the port must answer",
            );
            Some(Probe::Tcp)
        }
        CheckerKind::Bfd | CheckerKind::File => {
            note(Kind::Unused, "lbd has no such check: a script can look");
            None
        }
        CheckerKind::Misc { command, .. } => {
            let runs = command
                .first()
                .is_some_and(|program| program.starts_with('/'))
                && !command.iter().any(|word| word.contains('\0'));
            if !runs {
                note(Kind::Unused, "a script is named by its absolute path");
            }
            runs.then(|| Probe::Script(command.clone()))
        }
        CheckerKind::Udp { payload, reply } => {
            if reply.as_ref().is_some_and(Vec::is_empty) {
                note(
                    Kind::Changed,
                    "lbd asks for a text in the answer, or for none: say expect",
                );
            }
            Some(Probe::Udp(Udp {
                send: payload.clone().unwrap_or_default(),
                expect: reply.clone().filter(|reply| !reply.is_empty()),
            }))
        }
        CheckerKind::Dns { record, name } => {
            let known = RecordType::NAMES.iter().find(|(known, _)| known == record);
            if known.is_none() {
                note(
                    Kind::Changed,
                    "lbd asks for the SOA record in place of one that it does not know",
                );
            }
            let name = name.trim_end_matches('.');
            if !is_name(name) {
                note(Kind::Error, "name, allowed: a domain name");
                return None;
            }
            Some(Probe::Dns(Dns {
                name: name.to_owned(),
                record: known.map_or(RecordType::SOA, |(_, record)| *record),
            }))
        }
        // Its pages are asked for one by one.
        CheckerKind::Http { .. } => None,
    }
}

fn status(url: &Url, report: &mut Report) -> StatusSet {
    if url.status.is_empty() {
        return StatusSet::default();
    }
    let text = url.status.join(",");
    text.parse().unwrap_or_else(|()| {
        let reason = "allowed: statuses and ranges of them, 100 to 599";
        report.add(
            Kind::Error,
            &url.place,
            format!("status_code {text}"),
            reason,
        );
        StatusSet::default()
    })
}

/// A regular expression that is a plain text is one to look for.
fn body(url: &Url, report: &mut Report) -> Option<String> {
    let regex = url.regex.as_ref()?;
    let is_plain = !regex.is_empty() && !regex.contains(|c| "\\^$.|?*+()[]{}".contains(c));
    if !is_plain {
        let reason = "lbd looks for a plain text in the page: say body";
        report.add(Kind::Unused, &url.place, format!("regex {regex}"), reason);
    }
    is_plain.then(|| regex.clone())
}
