//! Shows `lbd` at work: builds labs on this machine, sends real requests through it, prints who answered.
//!
//! `./x demo` builds the programs and runs this one; it finds `lbd` and `lbrs` beside itself.

use std::error::Error;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use lb_testkit::netns::{
    Agent, Balancer, Family, HttpTally, Lab, Plan, Replies, Scratch, Service, Topology, WebServer,
    server_name, skip_reason,
};

const REQUESTS: u64 = 2_000;
const SERVERS: usize = 3;

/// One line of the table for each address family.
struct Show {
    name: &'static str,
    topology: Topology,
    replies: Replies,
    /// The service in IPv4.
    service: Service,
    /// The role of `lbrs` on the servers.
    agent: Option<&'static str>,
}

/// Every mode in the wiring that it is made for.
fn shows() -> Vec<Show> {
    let show = |name, topology, replies| Show {
        name,
        topology,
        replies,
        service: Service::new(name, "tcp", 80),
        agent: None,
    };
    let to_another_port = |show: Show| Show {
        service: Service {
            server_port: 8080,
            ..show.service
        },
        ..show
    };
    let helped = |role, show: Show| Show {
        agent: Some(role),
        ..to_another_port(show)
    };
    let tunnelled = |name, tunnel| {
        let show = show(name, Topology::Routed, Replies::ToBalancer);
        Show {
            service: Service {
                mode: "tun",
                more_of_server: tunnel,
                ..show.service
            },
            agent: Some("tun"),
            ..show
        }
    };
    vec![
        show("dr", Topology::TwoArmed, Replies::Direct),
        show("dr", Topology::OneArmed, Replies::Direct),
        to_another_port(show("nat", Topology::TwoArmed, Replies::ThroughBalancer)),
        to_another_port(show("nat", Topology::OneArmed, Replies::ThroughBalancer)),
        to_another_port(show("fnat", Topology::Routed, Replies::ToBalancer)),
        helped("toa", show("fnat", Topology::Routed, Replies::ToBalancer)),
        helped("enat", show("enat", Topology::Routed, Replies::ToBalancer)),
        tunnelled("tun", ""),
        tunnelled("tun, gue", "tunnel = { type = \"gue\", port = 6080 }"),
        tunnelled("tun, gre", "tunnel = { type = \"gre\" }"),
    ]
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
    writeln!(
        out,
        "\nA client, {SERVERS} nginx servers and lbd, each in a network namespace of its own, joined by veth pairs;\n\
         {REQUESTS} curl requests per line, each on a new TCP connection. In the routed wiring there is a router between\n\
         lbd and the servers. Where a role of lbrs is named, each server runs it; \"sees\" is whom nginx on a server takes for\n\
         its client.\n"
    )?;
    writeln!(out, "{}", heading())?;
    let (mut failures, mut config) = (0, String::new());
    for shown in shows() {
        for family in Family::BOTH {
            let run = Run::new(&shown, family)?;
            writeln!(out, "{}", run.line(&shown, family))?;
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
    config: String,
    tally: HttpTally,
    seconds: f64,
    /// Whom a server takes for its client.
    seen: String,
}

impl Run {
    fn new(shown: &Show, family: Family) -> Result<Run, Box<dyn Error>> {
        let here = std::env::current_exe()?;
        let plan = Plan {
            servers: SERVERS,
            ..Plan::new(shown.topology, shown.replies)
        };
        let (lab, scratch) = (Lab::new(plan)?, Scratch::new()?);
        let service = shown.service.in_family(family);
        let _servers = lab
            .servers
            .iter()
            .map(|server| WebServer::start(server, server.label(), service.server_port, &scratch))
            .collect::<Result<Vec<_>, _>>()?;
        let _agents = match shown.agent {
            Some(role) => agents(&lab, &here.with_file_name("lbrs"), role, family)?,
            None => Vec::new(),
        };
        let config = lab.config(&[service]);
        let mut balancer = Balancer::start(&lab, &here.with_file_name("lbd"), &config)?;
        let start = Instant::now();
        let tally = HttpTally::collect(&lab.client, service.address(), REQUESTS)?;
        let seconds = start.elapsed().as_secs_f64();
        let seen = client_seen(&lab, service.address(), family)?;
        let status = balancer.terminate()?;
        if !status.success() {
            return Err(format!("lbd ended with {status}:\n{}", balancer.log()).into());
        }
        Ok(Run {
            config,
            tally,
            seconds,
            seen,
        })
    }

    fn line(&self, shown: &Show, family: Family) -> String {
        let topology = match shown.topology {
            Topology::OneArmed => "one-armed",
            Topology::TwoArmed => "two-armed",
            Topology::Routed => "routed",
        };
        let answered = self.tally.answers.values().sum::<u64>();
        let mut numbers = vec![(answered + self.tally.failures).to_string()];
        numbers.extend((0..SERVERS).map(|index| {
            let answers = self.tally.answers.get(&server_name(index));
            answers.copied().unwrap_or(0).to_string()
        }));
        numbers.push(self.tally.failures.to_string());
        numbers.push(format!("{:.0}", answered as f64 / self.seconds));
        let agent = shown.agent.unwrap_or("-");
        row(
            [shown.name, &family.to_string(), topology, agent, &self.seen],
            &numbers,
        )
    }
}

/// `lbrs` on every server, told to trust the balancer.
fn agents(
    lab: &Lab,
    lbrs: &Path,
    role: &str,
    family: Family,
) -> Result<Vec<Agent>, Box<dyn Error>> {
    let vip = family.vip();
    let arguments = match role {
        "toa" => format!("toa --from {}", family.local_address(lab.plan.topology)),
        // Over IPv6 packets have no room to tell the service's port.
        "enat" => format!("enat {vip} --port {}=8080", SocketAddr::from((vip, 80))),
        _ => {
            let balancer = family.balancer_back(lab.plan.topology);
            format!("{role} {vip} --from {balancer}")
        }
    };
    let started = lab
        .servers
        .iter()
        .map(|server| Agent::start(server, lbrs, &arguments));
    Ok(started.collect::<Result<_, _>>()?)
}

/// Whom a server takes for its client: one of the lab's hosts.
fn client_seen(lab: &Lab, service: SocketAddr, family: Family) -> Result<String, Box<dyn Error>> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--noproxy", "*", "--max-time", "30"])
        .arg(format!("http://{service}/who"));
    let answer = lab.client.check_output(curl)?;
    let seen = answer.split(' ').next().unwrap_or_default();
    Ok(match seen.parse::<IpAddr>() {
        Ok(seen) if seen == family.client() => "client".to_owned(),
        Ok(seen) if seen == family.local_address(lab.plan.topology) => "lbd".to_owned(),
        _ => seen.to_owned(),
    })
}

fn heading() -> String {
    let mut numbers = vec!["requests".to_owned()];
    numbers.extend((0..SERVERS).map(server_name));
    numbers.extend(["failures", "requests/s"].map(str::to_owned));
    row(["mode", "family", "wiring", "lbrs", "sees"], &numbers)
}

/// Words to the left, numbers to the right.
fn row([mode, family, wiring, agent, seen]: [&str; 5], numbers: &[String]) -> String {
    let numbers: String = numbers.iter().map(|n| format!("  {n:>10}")).collect();
    format!("{mode:<8}  {family:<6}  {wiring:<9}  {agent:<4}  {seen:<8}{numbers}")
}
