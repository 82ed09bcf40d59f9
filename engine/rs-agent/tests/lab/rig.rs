//! A lab with the balancer in it, and `lbrs` on a server.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lb::live::{Balancer, StopReport};
use lb::{Config, Endpoint, Protocol, ServiceConfig};
use lb_testkit::netns::{AgentPlace, Family, Lab, Namespace, Plan, Process, Replies, Topology};
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

/// `lbrs` on a server, where all must go well.
pub struct Agent<'l>(AgentPlace<'l>);

impl<'l> Agent<'l> {
    /// Makes a place for it; nothing is attached yet.
    pub fn new(server: &'l Namespace) -> Agent<'l> {
        let program = Path::new(env!("CARGO_BIN_EXE_lbrs"));
        Agent(AgentPlace::new(server, program).expect("a place"))
    }

    /// Runs `lbrs` to its end and returns what it printed.
    pub fn run(&self, arguments: &str) -> String {
        self.0.run(arguments).expect("lbrs succeeds")
    }

    /// Runs `lbrs`, which must fail, and returns what it printed.
    pub fn refused(&self, arguments: &str) -> String {
        let output = self.0.output(arguments).expect("lbrs");
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts an `lbrs` that stays, and waits until all is attached.
    pub fn stay(&self, arguments: &str) -> Process {
        self.0.stay(arguments).expect("it attaches")
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
}

/// Ends a process without asking.
pub fn kill(mut process: Process) {
    process
        .signal(nix::sys::signal::Signal::SIGKILL)
        .expect("it runs");
    process.wait(LIMIT).expect("it ends");
}

/// What a server's network looks like to all but those who count packets: addresses, links, routes, and every switch of
/// both families.
pub struct Footprint(BTreeSet<String>);

/// The server's footprint as it is now.
pub fn footprint(server: &Namespace) -> Footprint {
    let listed = [
        "-oneline address show",
        "-oneline -details link show",
        "-oneline rule show",
        "-oneline route show table all",
        "-oneline -6 route show table all",
    ];
    let mut seen = BTreeSet::new();
    for list in listed {
        let list = server.ip(list).expect("a list");
        seen.extend(list.lines().map(without_carrier));
    }
    server.run(|| {
        for family in ["ipv4", "ipv6"] {
            switches(&Path::new("/proc/sys/net").join(family), &mut seen);
        }
    });
    Footprint(seen)
}

/// A line of `ip` without what the other end of a cable decides, a moment later; an address that nobody else may have is
/// tentative for so long.
fn without_carrier(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.retain(|word| !word.starts_with('<') && *word != "tentative");
    if let Some(at) = words.iter().position(|word| *word == "state") {
        words.drain(at..at + 2);
    }
    words.join(" ")
}

impl Footprint {
    /// The same as `before`.
    pub fn assert_is(&self, before: &Footprint) {
        let gone: Vec<_> = before.0.difference(&self.0).collect();
        let come: Vec<_> = self.0.difference(&before.0).collect();
        assert!(
            gone.is_empty() && come.is_empty(),
            "gone: {gone:#?}\ncome: {come:#?}"
        );
    }
}

fn switches(folder: &Path, seen: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            switches(&path, seen);
        } else if let Ok(value) = fs::read_to_string(&path) {
            // Some may only be written.
            seen.insert(format!("{} = {}", path.display(), value.trim()));
        }
    }
}

/// Python as `program` has it, which listens on a port of all addresses of a family.
pub fn python(server: &Namespace, program: &str, family: Family, port: u16) -> Process {
    let family = if family == Family::V4 { "4" } else { "6" };
    let mut python = Command::new("python3");
    python.args(["-c", program, family, &port.to_string()]);
    let mut process = server.spawn(python).expect("python");
    process.wait_for("listening", LIMIT).expect("it listens");
    process
}

/// A program for [`python`] that tells every client what accept() and getpeername() say of it.
pub const WITNESS: &str = include_str!("witness.py");

/// What [`WITNESS`] says of somebody whom accept() and, once there is data, getpeername() call these.
pub fn seen(accepted: SocketAddr, later: SocketAddr) -> String {
    format!(
        "accept {} {} getpeername {} {}\n",
        accepted.ip(),
        accepted.port(),
        later.ip(),
        later.port()
    )
}

/// What the client's kernel calls its end of a new connection, and the answer to a request on it.
pub fn ask(lab: &Lab, to: SocketAddr, request: &[u8]) -> io::Result<(SocketAddr, String)> {
    lab.client.run(|| {
        let mut stream = connect(to)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(request)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok((stream.local_addr()?, answer))
    })
}

/// Connects, again if the network says that it does not know the way: a veth's link goes down for a moment when the balancer
/// puts its program there, and the kernel's routes with it.
pub fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let end = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect_timeout(&to, LIMIT) {
            Err(error)
                if error.kind() == io::ErrorKind::NetworkUnreachable && Instant::now() < end => {}
            done => return done,
        }
    }
}
