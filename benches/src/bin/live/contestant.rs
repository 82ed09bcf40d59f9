//! What is measured: each forwards the same packets from `l0` to `l1`, on the same CPU.

use std::fmt;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use lb_benches::built_program;
use lb_testkit::netns::{Namespace, Process, Scratch};
use nix::sys::signal::Signal;

use crate::arena::{Arena, BALANCER, PORT, SERVERS, VIP, servers};
use crate::bare;

/// The CPU that makes packets.
pub const GENERATOR_CPU: usize = 0;
/// The CPU that contestants run on.
pub const BALANCER_CPU: usize = 1;

/// How long a contestant may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(60);
/// What `lbd` logs once everything is set up.
const LBD_READY: &str = "balancing";
/// As its configuration has it when nobody says.
const LBD_CAPACITY: u32 = 1_000_000;

/// One of those who are measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contestant {
    /// The bare AF_XDP forwarder.
    Bare,
    /// `lbd` with one service of this mode.
    Lbd {
        /// As its configuration has it.
        mode: String,
    },
    /// The kernel, forwarding as a router does.
    Kernel,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contestant::Bare => f.write_str("bare forwarder"),
            Contestant::Lbd { mode } => write!(f, "lbd {mode}"),
            Contestant::Kernel => f.write_str("kernel forwarding"),
        }
    }
}

impl Contestant {
    /// The network that packets are for when they leave.
    pub fn destination(&self) -> (Ipv4Addr, u32) {
        match self {
            Contestant::Lbd { mode } if mode != "dr" => SERVERS,
            _ => (VIP, 32),
        }
    }

    /// Starts it; packets are forwarded when this returns.
    pub fn start(&self, arena: &Arena, flows: u32) -> anyhow::Result<Running> {
        Ok(match self {
            Contestant::Bare => Running::Bare(start_bare(&arena.balancer)?),
            Contestant::Lbd { mode } => start_lbd(&arena.balancer, mode, flows)?,
            // It always runs: whatever no program takes, it forwards.
            Contestant::Kernel => Running::Kernel,
        })
    }
}

/// A contestant at work; it ends with this value at the latest.
pub enum Running {
    /// The forwarder's process.
    Bare(Process),
    /// The daemon's process.
    Lbd {
        /// The process.
        process: Process,
        /// The folder that its configuration is in.
        _scratch: Scratch,
    },
    /// No process.
    Kernel,
}

impl Running {
    /// Its process, if it is one.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Running::Bare(process) | Running::Lbd { process, .. } => Some(process),
            Running::Kernel => None,
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.process().map(Process::log).unwrap_or_default()
    }

    /// Ends it; an error if it does not end well.
    pub fn end(self) -> anyhow::Result<()> {
        if let Running::Lbd { mut process, .. } = self {
            process.signal(Signal::SIGTERM)?;
            let status = process.wait(LIMIT)?;
            ensure!(
                status.success(),
                "lbd ended with {status}:\n{}",
                process.log()
            );
        }
        Ok(())
    }
}

fn start_bare(namespace: &Namespace) -> anyhow::Result<Process> {
    let mut command = on_cpu(BALANCER_CPU, std::env::current_exe()?);
    command.arg("forward").args(BALANCER);
    let mut process = namespace.spawn(command)?;
    process.wait_for(bare::READY, LIMIT)?;
    Ok(process)
}

fn start_lbd(namespace: &Namespace, mode: &str, flows: u32) -> anyhow::Result<Running> {
    let scratch = Scratch::new()?;
    let config = scratch.write("lbd.toml", config(mode, flows))?;
    let mut command = on_cpu(BALANCER_CPU, built_program("lbd")?);
    command.args(["run", "--config"]).arg(config);
    command.env("NO_COLOR", "1");
    command.env("LBD_SOCKET", scratch.path().join("socket"));
    let mut process = namespace.spawn(command)?;
    process.wait_for(LBD_READY, LIMIT)?;
    Ok(Running::Lbd {
        process,
        _scratch: scratch,
    })
}

/// `program` on this CPU alone, and before other work of the machine. Not in real time: should it not stop, the machine
/// stays usable.
pub fn on_cpu(cpu: usize, program: PathBuf) -> Command {
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", FIRST_IN_LINE, "sh", &cpu.to_string()]);
    command.arg(program);
    command
}

/// Where the kernel shares a CPU among sessions first (`sched_autogroup_enabled`), a process's own priority counts for
/// nothing outside its session; so the session, which is the process's own, gets the same one.
const FIRST_IN_LINE: &str = r#"
cpu=$1; shift
[ ! -e /proc/self/autogroup ] || echo -20 >/proc/self/autogroup
exec taskset --cpu-list "$cpu" nice --adjustment=-20 "$@"
"#;

fn config(mode: &str, flows: u32) -> String {
    let mut config = format!(
        "[engine]\ninterfaces = {BALANCER:?}\ncapacity = {}\n\n[[service]]\nvip = \"{VIP}:{PORT}\"\n\
         protocol = \"udp\"\nscheduler = \"rr\"\nmode = \"{mode}\"\n",
        flows.max(LBD_CAPACITY)
    );
    for server in servers() {
        write!(config, "\n[[service.server]]\nrip = \"{server}:{PORT}\"\n")
            .expect("a String takes everything");
    }
    config
}

/// What `lbd` has logged about its sockets on the first interface.
pub fn sockets(log: &str) -> Option<String> {
    let start = format!("{} queue 0: ", BALANCER[0]);
    let (_, sockets) = log.lines().find_map(|line| line.split_once(&start))?;
    Some(sockets.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_room_for_all_flows() {
        assert!(config("dr", 1000).contains("capacity = 1000000\n"));
        assert!(config("dr", 3_000_000).contains("capacity = 3000000\n"));
        assert_eq!(config("dr", 1).matches("[[service.server]]").count(), 16);
    }

    #[test]
    fn sockets_are_told_from_the_log() {
        let log =
            "INFO l0 queue 0: worker 0, copy mode\nINFO l1 queue 0: worker 0, zero-copy mode\n";
        assert_eq!(sockets(log).as_deref(), Some("worker 0, copy mode"));
        assert_eq!(sockets("forwarding\n"), None);
    }
}
