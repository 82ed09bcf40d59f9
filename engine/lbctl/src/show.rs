//! Answers as text: plain columns, for people and for awk.

use std::fmt::Write;

use lb_control::{
    Conn, Counter, Drain, Health, Plan, Server, ServerCheck, Service, ServiceChecks, Status, Why,
    WhyWorker,
};

/// Whether it should have the traffic.
pub fn health(health: &Health) -> String {
    match health.healthy {
        true => "healthy\n".to_owned(),
        false => format!("not healthy: {}\n", health.reasons.join(", ")),
    }
}

/// How lbd is.
pub fn status(status: &Status) -> String {
    let on = match &status.interfaces[..] {
        [] => "no interfaces: keeps its tables and balances nothing".to_owned(),
        interfaces => interfaces.join(", "),
    };
    let Status {
        version,
        pid,
        workers,
        services,
        servers,
        conns,
        ..
    } = status;
    let uptime = duration(status.uptime_seconds);
    let room = status.capacity;
    let Status {
        received,
        sent,
        passed,
        dropped,
        ..
    } = status;
    let polls = if status.busy_poll {
        ", busy polling"
    } else {
        ""
    };
    let checks = match status.checked {
        0 => String::new(),
        checked => format!(
            "checks      {checked} servers, {} down, {} suspect\n",
            status.down, status.suspects
        ),
    };
    format!(
        "lbd {version}, process {pid}, up {uptime}\n\
         interfaces  {on}\n\
         workers     {workers}{polls}, room for {room} conns each\n\
         services    {services}, with {servers} servers\n\
         {checks}conns       {conns}\n\
         packets     {received} received, {sent} sent, {passed} passed to the kernel, {dropped} dropped\n"
    )
}

/// `3 d 04:05:06`
pub fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        days => format!("{days} d {clock}"),
    }
}

/// Counters, those that are 0 only if asked for.
pub fn counters(counters: &[Counter], all: bool) -> String {
    let shown = counters.iter().filter(|counter| all || counter.value > 0);
    let lines = shown.map(|counter| {
        let line = format!("{:<28} {:>16}", counter.name, counter.value);
        match &counter.meaning {
            Some(meaning) => format!("{line}  {meaning}\n"),
            None => line + "\n",
        }
    });
    lines.collect()
}

/// Services, each with its servers below it.
pub fn services(services: &[Service]) -> String {
    let mut text = String::new();
    for service in services {
        let mut line = format!("{} {}", service.service, service.scheduler);
        if let Some(seconds) = service.persistence_seconds {
            line += &format!(" persistent {seconds}");
        }
        if service.one_packet {
            line += " one-packet";
        }
        text += &(line + "\n");
        text += &servers(&service.servers, "  ");
    }
    text
}

fn servers(servers: &[Server], indent: &str) -> String {
    let width = servers.iter().map(|s| s.server.len()).max().unwrap_or(0);
    let lines = servers.iter().map(|server| {
        let note = match server {
            Server {
                check: Some(state), ..
            } if state != "up" => &format!("  {state}"),
            Server { weight: 0, .. } => "  quiesced",
            Server {
                overloaded: true, ..
            } => "  overloaded",
            _ => "",
        };
        format!(
            "{indent}{:<width$}  {:<5} weight {:<5} active {:<8} inactive {:<8}{note}\n",
            server.server, server.mode, server.weight, server.active, server.inactive
        )
    });
    lines.collect()
}

/// What stands above conns.
pub const CONN_TITLE: &str = "pro state       expires client                 service                server                 mode  worker\n";

/// One conn.
pub fn conn(conn: &Conn) -> String {
    let expires = format!(
        "{:02}:{:02}",
        conn.expires_seconds / 60,
        conn.expires_seconds % 60
    );
    let Conn {
        protocol,
        state,
        client,
        service,
        server,
        mode,
        worker,
        ..
    } = conn;
    let local = match &conn.local {
        Some(local) => format!(" as {local}"),
        None => String::new(),
    };
    format!(
        "{protocol:<3} {state:<11} {expires:<7} {client:<22} {service:<22} {server:<22} {mode:<5} {worker}{local}\n"
    )
}

/// Why a packet goes where it goes.
pub fn why(why: &Why) -> String {
    let mut text = format!("{} {} -> {}\n", why.protocol, why.client, why.destination);
    match (&why.service, &why.scheduler) {
        (Some(service), Some(scheduler)) => {
            text += &format!("service     {service}, scheduler {scheduler}\n");
            text += &servers(&why.servers, "            ");
        }
        _ => text += "service     none: such packets stay with the kernel\n",
    }
    if why.workers.is_empty() {
        text += "workers     none: lbd has no interfaces and balances nothing\n";
    }
    // What all say alike is said once.
    let alike = why
        .workers
        .windows(2)
        .all(|pair| answers(&pair[0]) == answers(&pair[1]));
    let shown = if alike {
        &why.workers[..why.workers.len().min(1)]
    } else {
        &why.workers[..]
    };
    for worker in shown {
        if !alike {
            text += &format!("worker {}\n", worker.worker);
        }
        text += &answers(worker);
    }
    let mut decisions = String::new();
    for worker in &why.workers {
        for decision in &worker.decisions {
            let end = decision.server.as_ref().or(decision.reason.as_ref());
            let end = end.map_or("", String::as_str);
            let _ = writeln!(
                decisions,
                "            {:>4} s ago  {} {} -> {}  {end}",
                decision.age_seconds, decision.protocol, decision.client, decision.destination
            );
        }
    }
    if !decisions.is_empty() {
        text += "decisions   about this client or service, the latest first\n";
        text += &decisions;
    }
    text
}

fn answers(worker: &WhyWorker) -> String {
    let server = worker.server.as_deref().unwrap_or("none");
    let mode = worker.mode.as_deref().unwrap_or("none");
    let reason = worker.reason.as_deref().unwrap_or("none");
    let mut text = match (worker.verdict.as_str(), &worker.conn) {
        ("conn", Some(conn)) => format!(
            "conn        {} to {}, mode {}, ends in {} s without a packet\n",
            conn.state, conn.server, conn.mode, conn.expires_seconds
        ),
        ("new", _) if worker.kept_by_persistence => {
            format!("new conn    to {server}, mode {mode}: persistence keeps the client there\n")
        }
        ("new", _) => {
            format!("new conn    to {server}, mode {mode}: the scheduler's next choice\n")
        }
        ("drop", _) => format!("new conn    dropped: {reason}\n"),
        ("untold", _) => "new conn    the scheduler decides when it comes\n".to_owned(),
        _ => format!("passed      to the kernel: {reason}\n"),
    };
    if let Some(rewritten) = &worker.rewritten {
        text += &format!(
            "server sees {} -> {}\n",
            rewritten.source, rewritten.destination
        );
    }
    match &worker.next_hop {
        Some(hop) => {
            let mac = hop
                .mac
                .as_deref()
                .unwrap_or("a MAC that the kernel is asked for");
            text += &format!("next hop    {mac} by {}\n", hop.interface);
        }
        None if worker.server.is_some() => text += "next hop    none: the kernel has no route\n",
        None => {}
    }
    text
}

/// What a configuration changes.
pub fn plan(plan: &Plan) -> String {
    let mut text: String = plan
        .changes
        .iter()
        .map(|change| format!("{change}\n"))
        .collect();
    for restart in &plan.restart {
        text += &format!("! {restart}\n");
    }
    if plan.conns_lost > 0 {
        text += &format!("{} conns of servers that go are lost\n", plan.conns_lost);
    }
    match (plan.restart.is_empty(), text.is_empty()) {
        (true, true) => "nothing changes\n".to_owned(),
        (true, false) => text,
        (false, _) => text + "this takes a restart; until then nothing changes\n",
    }
}

/// Services that are checked, each with its servers below it.
pub fn checks(services: &[ServiceChecks]) -> String {
    let mut text = String::new();
    for service in services {
        let ServiceChecks {
            service: name,
            r#type,
            interval_seconds,
            quorum,
            ..
        } = service;
        text += &format!("{name} {} every {interval_seconds} s", r#type);
        match (service.quorum_met, &service.sorry_server) {
            (true, _) => {}
            (false, None) => text += &format!(", quorum {quorum} lost"),
            (false, Some(sorry)) => {
                text += &format!(", quorum {quorum} lost, sorry server {sorry} serves");
            }
        }
        text += "\n";
        let servers = &service.servers;
        let width = servers.iter().map(|s| s.server.len()).max().unwrap_or(0);
        for server in servers {
            let ServerCheck {
                server: name,
                state,
                weight,
                given_weight,
                failed,
                ..
            } = server;
            let since = duration(server.since_seconds);
            let took = server
                .last_seconds
                .map_or("-".to_owned(), |took| format!("{:.1}", took * 1e3));
            let suspicion = server.passive.iter().filter_map(|of| of.suspicion.as_ref());
            let failure = server.failure.iter().chain(suspicion);
            let failure = failure.map(|why| format!("  {why}"));
            let failure: String = failure.collect();
            let weight = match server.removed {
                true => format!("removed/{given_weight}"),
                false => format!("{weight}/{given_weight}"),
            };
            text += &format!(
                "  {name:<width$}  {state:<8} {since}  weight {weight:<11} last {took:>7} ms  failed {failed}{failure}\n"
            );
        }
    }
    text
}

/// Servers that are being drained.
pub fn drains(drains: &[Drain]) -> String {
    let lines = drains.iter().map(|drain| {
        format!(
            "{}  {}  weight was {}  active {}  inactive {}  persistent {}\n",
            drain.service,
            drain.server,
            drain.weight,
            drain.active,
            drain.inactive,
            drain.persistent
        )
    });
    lines.collect()
}
