//! A lab with the balancer in it, and `lbrs` on a server.

use std::process::Command;
use std::time::{Duration, Instant};

use lb::live::{Balancer, StopReport};
use lb::{Config, Endpoint, Protocol, ServiceConfig};
use lb_testkit::netns::{Family, Lab, Namespace, Plan, Process, Replies, Topology};
use serde_json::Value;

/// How long a program may take to start or to end.
const LIMIT: Duration = Duration::from_secs(60);

/// A lab with one server that knows nothing of any VIP.
pub fn lab(topology: Topology) -> Lab {
    let plan = Plan {
        servers: 1,
        ..Plan::new(topology, Replies::ToBalancer)
    };
    Lab::new(plan).expect("a lab")
}

/// A service at the VIP of `family` with one server, the first, of `server_family`.
pub fn service(
    mode: &str,
    protocol: Protocol,
    (family, port): (Family, u16),
    (server_family, server_port): (Family, u16),
) -> ServiceConfig {
    let vip = Endpoint::new(family.vip().into(), port);
    let rip = Endpoint::new(server_family.server(0).into(), server_port);
    let mut service = ServiceConfig::new(vip, protocol, "rr", mode).with_server(rip, 1);
    service.vip_interface = Some("eth0".to_owned());
    service
}

/// The real balancer, on threads of this process; it must end in order.
pub struct Front(Option<Balancer>);

impl Front {
    /// Starts it in the lab's balancer.
    pub fn start(lab: &Lab, services: Vec<ServiceConfig>) -> Front {
        let mut config = Config::on(lab.interfaces());
        config.services = services;
        let end = Instant::now() + LIMIT;
        loop {
            match lab.balancer.run(|| Balancer::start(&config)) {
                Ok(balancer) => return Front(Some(balancer)),
                // The kernel lets go of a queue a moment after its last socket was closed.
                Err(error) if Instant::now() < end && error.to_string().contains("bound") => {}
                Err(error) => panic!("the balancer does not start: {error}"),
            }
        }
    }

    /// Ends it and returns its last words.
    pub fn finish(mut self) -> StopReport {
        let report = self.0.take().expect("it has not been ended").stop();
        assert!(report.frames_conserved());
        report
    }
}

/// `lbrs` on a server. What it keeps is in a mount namespace that ends with this value, or with this process.
pub struct Agent<'l> {
    server: &'l Namespace,
    holder: Process,
}

impl<'l> Agent<'l> {
    /// Makes a place for it; nothing is attached yet.
    pub fn new(server: &'l Namespace) -> Agent<'l> {
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "--propagation", "private", "sh", "-c"]);
        holder.arg("mount -t tmpfs lbrs /run && echo holding && exec sleep 100000");
        let mut holder = server.spawn(holder).expect("a mount namespace");
        holder.wait_for("holding", LIMIT).expect("it is mounted");
        Agent { server, holder }
    }

    /// Runs `lbrs` to its end and returns what it printed.
    pub fn run(&self, arguments: &str) -> String {
        self.server
            .check_output(self.command(arguments))
            .expect("lbrs succeeds")
    }

    /// Runs `lbrs`, which must fail, and returns what it printed.
    pub fn refused(&self, arguments: &str) -> String {
        let output = self.server.output(self.command(arguments)).expect("lbrs");
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts an `lbrs` that stays, and waits until all is attached.
    pub fn stay(&self, arguments: &str) -> Process {
        let mut process = self.server.spawn(self.command(arguments)).expect("lbrs");
        process.wait_for("ready", LIMIT).expect("it attaches");
        process
    }

    /// What `lbrs status --json` says of a role.
    pub fn status(&self, role: &str) -> Value {
        let status: Value = serde_json::from_str(&self.run("status --json")).expect("JSON");
        let roles = status["roles"].as_array().expect("a list");
        let found = roles.iter().find(|found| found["role"] == role);
        found.expect("every role is listed").clone()
    }

    /// One of a role's counters.
    pub fn counter(&self, role: &str, name: &str) -> u64 {
        let status = self.status(role);
        status["counters"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    fn command(&self, arguments: &str) -> Command {
        let mut lbrs = Command::new("nsenter");
        lbrs.args(["--target", &self.holder.id().to_string(), "--mount", "--"]);
        lbrs.args([env!("CARGO_BIN_EXE_lbrs"), "--directory", "/run/lbrs"]);
        lbrs.args(arguments.split_whitespace());
        lbrs
    }
}

/// Ends a process without asking.
pub fn kill(mut process: Process) {
    process
        .signal(nix::sys::signal::Signal::SIGKILL)
        .expect("it runs");
    process.wait(LIMIT).expect("it ends");
}

/// Addresses, and the sysctls that the agent sets.
pub fn footprint(server: &Namespace) -> String {
    let mut seen = server.ip("-oneline address show").expect("addresses");
    for key in ["arp_ignore", "arp_announce"] {
        let path = format!("/proc/sys/net/ipv4/conf/all/{key}");
        let value = server.run(|| std::fs::read_to_string(path));
        seen.push_str(&value.expect("a sysctl"));
    }
    seen
}
