//! Shows `lbd` at work: builds labs on this machine, sends real requests through it, prints who answered.
//!
//! `./x demo` builds both programs and runs this one; it finds `lbd` beside itself.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use lb_testkit::netns::{
    Balancer, Family, HttpTally, Lab, Plan, Replies, Scratch, Service, Topology, WebServer,
    server_name, skip_reason,
};

const REQUESTS: u64 = 3_000;
const SERVERS: usize = 3;

/// The labs shown; NAT also maps the port.
const SHOWN: [(Topology, &str); 4] = [
    (Topology::TwoArmed, "dr"),
    (Topology::OneArmed, "dr"),
    (Topology::TwoArmed, "nat"),
    (Topology::OneArmed, "nat"),
];

/// The service shown in a mode.
fn service(mode: &'static str, family: Family) -> Service {
    let service = Service::new(mode, "tcp", 80).in_family(family);
    match mode {
        "nat" => Service {
            server_port: 8080,
            ..service
        },
        _ => service,
    }
}

const WHERE_NEXT: &str = "
Where to look next:

    README.md                        what lbd is, and how to embed it
    docs/                            a page on every mode
    target/release/lbd check FILE    says what is wrong with a configuration, and where
    target/release/lbd run           balances on this machine's interfaces, by /etc/lbd/lbd.toml
    ./x test                         all tests; ./x help has more";

fn main() -> ExitCode {
    if let Some(why) = skip_reason() {
        println!("SKIPPED: {why}");
        return ExitCode::SUCCESS;
    }
    match show(&mut io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every lab; whether no request failed.
fn show(out: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let lbd = std::env::current_exe()?.with_file_name("lbd");
    writeln!(
        out,
        "\nA client, {SERVERS} nginx servers and lbd, each in a network namespace of its own, joined by veth pairs;\n\
         {REQUESTS} curl requests per line, each on a new TCP connection.\n"
    )?;
    writeln!(out, "{}", heading())?;
    let (mut failures, mut config) = (0, String::new());
    for (topology, mode) in SHOWN {
        for family in Family::BOTH {
            let run = Run::new(&lbd, topology, service(mode, family))?;
            writeln!(out, "{}", run.line())?;
            if let Some(failure) = &run.tally.first_failure {
                writeln!(
                    out,
                    "      the first failure, as curl reports it: {failure}"
                )?;
            }
            failures += run.tally.failures;
            config = run.config;
        }
    }
    writeln!(out, "\nThe last line's configuration:\n")?;
    for line in config.lines() {
        writeln!(out, "    {line}")?;
    }
    writeln!(out, "{WHERE_NEXT}")?;
    Ok(failures == 0)
}

/// One lab with one service, and what came of it.
struct Run {
    topology: Topology,
    service: Service,
    config: String,
    tally: HttpTally,
    seconds: f64,
}

impl Run {
    fn new(lbd: &Path, topology: Topology, service: Service) -> Result<Run, Box<dyn Error>> {
        let replies = if service.mode == "dr" {
            Replies::Direct
        } else {
            Replies::ThroughBalancer
        };
        let plan = Plan {
            servers: SERVERS,
            ..Plan::new(topology, replies)
        };
        let (lab, scratch) = (Lab::new(plan)?, Scratch::new()?);
        let _servers = lab
            .servers
            .iter()
            .map(|server| WebServer::start(server, server.label(), service.server_port, &scratch))
            .collect::<Result<Vec<_>, _>>()?;
        let config = lab.config(&[service]);
        let mut balancer = Balancer::start(&lab, lbd, &config)?;
        let start = Instant::now();
        let tally = HttpTally::collect(&lab.client, service.address(), REQUESTS)?;
        let seconds = start.elapsed().as_secs_f64();
        let status = balancer.terminate()?;
        if !status.success() {
            return Err(format!("lbd ended with {status}:\n{}", balancer.log()).into());
        }
        Ok(Run {
            topology,
            service,
            config,
            tally,
            seconds,
        })
    }

    fn line(&self) -> String {
        let topology = match self.topology {
            Topology::OneArmed => "one-armed",
            Topology::TwoArmed => "two-armed",
            Topology::Routed => "routed",
        };
        let requests = (self.tally.answers.values().sum::<u64>() + self.tally.failures).to_string();
        let per_server = (0..SERVERS).map(|index| {
            self.tally
                .answers
                .get(&server_name(index))
                .copied()
                .unwrap_or(0)
                .to_string()
        });
        let rate = format!(
            "{:.0}",
            self.tally.answers.values().sum::<u64>() as f64 / self.seconds
        );
        let failures = self.tally.failures.to_string();
        row(
            self.service.mode,
            &self.service.family.to_string(),
            topology,
            "rr",
            &requests,
            per_server,
            &failures,
            &rate,
        )
    }
}

fn heading() -> String {
    let servers = (0..SERVERS).map(server_name);
    row(
        "mode",
        "family",
        "wiring",
        "scheduler",
        "requests",
        servers,
        "failures",
        "requests/s",
    )
}

/// Words to the left, numbers to the right.
#[allow(clippy::too_many_arguments, reason = "one for each column")]
fn row(
    mode: &str,
    family: &str,
    wiring: &str,
    scheduler: &str,
    requests: &str,
    servers: impl Iterator<Item = String>,
    failures: &str,
    rate: &str,
) -> String {
    let servers: String = servers.map(|server| format!("  {server:>8}")).collect();
    format!(
        "{mode:<4}  {family:<6}  {wiring:<9}  {scheduler:<9}  {requests:>8}{servers}  {failures:>8}  {rate:>10}"
    )
}
