//! The daemon as a contestant.

use std::fmt::Write;

use lb_benches::built_program;
use lb_testkit::netns::{Namespace, Scratch};

use crate::arena::{BALANCER, Family, LOCAL_ADDRESSES, PORT};
use crate::contestant::{BALANCER_CPU, LIMIT, Running, on_cpu};

/// All that it is measured in.
pub const MODES: [&str; 5] = ["dr", "nat", "fnat", "enat", "tun"];

/// What it logs once everything is set up.
const READY: &str = "balancing";
/// Its control socket, in its folder.
pub const SOCKET: &str = "socket";
/// Where it offers its metrics; it costs nothing while nobody asks.
pub const METRICS: &str = "127.0.0.1:9099";
/// As its configuration has it when nobody says.
const CAPACITY: u32 = 1_000_000;

/// What it balances.
pub struct Service<'a> {
    pub mode: &'a str,
    pub family: Family,
    pub protocol: &'a str,
}

/// Starts it with one service, and room for conns of so many flows.
pub fn start(
    namespace: &Namespace,
    service: &Service<'_>,
    flows: u32,
    busy_poll: bool,
) -> anyhow::Result<Running> {
    let scratch = Scratch::new()?;
    let config = scratch.write("lbd.toml", config(service, flows, busy_poll))?;
    let mut command = on_cpu(BALANCER_CPU, built_program("lbd")?);
    command.args(["run", "--config"]).arg(config);
    command.env("NO_COLOR", "1");
    command.env("LBD_SOCKET", scratch.path().join(SOCKET));
    let mut process = namespace.spawn(command)?;
    process.wait_for(READY, LIMIT)?;
    Ok(Running::Lbd { process, scratch })
}

fn config(service: &Service<'_>, flows: u32, busy_poll: bool) -> String {
    let &Service {
        mode,
        family,
        protocol,
    } = service;
    // In brackets if it is IPv6.
    let endpoint = |addr| std::net::SocketAddr::new(addr, PORT);
    let polling = if busy_poll { "busy_poll = true\n" } else { "" };
    let mut config = format!(
        "[engine]\ninterfaces = {BALANCER:?}\ncapacity = {}\n{polling}\n[metrics]\naddress = \"{METRICS}\"\n\n[[service]]\nvip = \"{}\"\n\
         protocol = \"{protocol}\"\nscheduler = \"rr\"\nmode = \"{mode}\"\n",
        flows.max(CAPACITY),
        endpoint(family.vip()),
    );
    if mode == "fnat" {
        let locals = match family {
            Family::V4 => LOCAL_ADDRESSES,
            Family::V6 => ["2001:db8:1::c8", "2001:db8:1::c9"],
        };
        let [_, back] = BALANCER;
        write!(
            config,
            "local_addresses = {locals:?}\nlocal_interface = \"{back}\"\n"
        )
        .expect("a String takes everything");
    }
    for server in family.servers() {
        write!(
            config,
            "\n[[service.server]]\nrip = \"{}\"\n",
            endpoint(server)
        )
        .expect("a String takes everything");
    }
    config
}

/// What it has logged about its sockets on the first interface.
pub fn sockets(log: &str) -> Option<String> {
    let start = format!("{} queue 0: ", BALANCER[0]);
    let (_, sockets) = log.lines().find_map(|line| line.split_once(&start))?;
    Some(sockets.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service<'a>(mode: &'a str, family: Family, protocol: &'a str) -> Service<'a> {
        Service {
            mode,
            family,
            protocol,
        }
    }

    #[test]
    fn a_configuration_has_room_for_all_flows() {
        let config = |flows| config(&service("dr", Family::V4, "udp"), flows, false);
        assert!(config(1000).contains("capacity = 1000000\n"));
        assert!(config(3_000_000).contains("capacity = 3000000\n"));
        assert_eq!(config(1).matches("[[service.server]]").count(), 16);
    }

    #[test]
    fn a_configuration_over_ipv6_has_its_addresses_in_brackets() {
        let config = config(&service("fnat", Family::V6, "tcp"), 1, true);
        assert!(config.contains("vip = \"[2001:db8::64]:80\"\n"), "{config}");
        assert!(
            config.contains("rip = \"[2001:db8:1::b]:80\"\n"),
            "{config}"
        );
        assert!(config.contains("\nlocal_addresses = [\"2001:db8:1::c8\""));
    }

    #[test]
    fn sockets_are_told_from_the_log() {
        let log =
            "INFO l0 queue 0: worker 0, copy mode\nINFO l1 queue 0: worker 0, zero-copy mode\n";
        assert_eq!(sockets(log).as_deref(), Some("worker 0, copy mode"));
        assert_eq!(sockets("forwarding\n"), None);
    }
}
