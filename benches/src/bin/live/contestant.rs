//! What is measured: each forwards the same packets from `l0` to `l1`, on the same CPU.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::ensure;
use lb_testkit::netns::{Namespace, Process, Scratch};
use nix::sys::signal::Signal;

use crate::arena::{Arena, BALANCER, Family};
use crate::nftables::{self, Rules};
use crate::{bare, lbd, testpmd};

/// The CPU that makes packets.
pub const GENERATOR_CPU: usize = 0;
/// The CPU that contestants run on.
pub const BALANCER_CPU: usize = 1;

/// How long a contestant may take to start or to stop.
pub const LIMIT: Duration = Duration::from_secs(60);

/// One of those who are measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contestant {
    /// The bare AF_XDP forwarder.
    Bare,
    /// DPDK's forwarder, on AF_XDP sockets too.
    Testpmd,
    /// `lbd` with one service of this mode.
    Lbd {
        /// As its configuration has it.
        mode: String,
        /// Of its service and servers.
        family: Family,
        /// Whether its worker looks for packets all the time.
        busy_poll: bool,
    },
    /// The kernel, balancing by nftables' destination NAT.
    Nftables,
    /// The kernel, forwarding as a router does.
    Kernel,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contestant::Bare => f.write_str("bare forwarder"),
            Contestant::Testpmd => f.write_str("dpdk-testpmd io"),
            Contestant::Lbd {
                mode,
                family,
                busy_poll,
            } => {
                let family = if *family == Family::V6 { " v6" } else { "" };
                let polling = if *busy_poll { " polling" } else { "" };
                write!(f, "lbd {mode}{family}{polling}")
            }
            Contestant::Nftables => f.write_str("nftables dnat"),
            Contestant::Kernel => f.write_str("kernel forwarding"),
        }
    }
}

/// `bare`, `testpmd`, `nftables`, `kernel`; or a mode of lbd, with `6` behind it for IPv6 and `-polling` for busy polling.
impl FromStr for Contestant {
    type Err = String;

    fn from_str(name: &str) -> Result<Contestant, String> {
        let (mode, busy_poll) = match name.strip_suffix("-polling") {
            Some(mode) => (mode, true),
            None => (name, false),
        };
        let (mode, family) = match mode.strip_suffix('6') {
            Some(mode) => (mode, Family::V6),
            None => (mode, Family::V4),
        };
        match name {
            "bare" => Ok(Contestant::Bare),
            "testpmd" => Ok(Contestant::Testpmd),
            "nftables" => Ok(Contestant::Nftables),
            "kernel" => Ok(Contestant::Kernel),
            _ if lbd::MODES.contains(&mode) => Ok(Contestant::Lbd {
                mode: mode.to_owned(),
                family,
                busy_poll,
            }),
            _ => Err(format!(
                "allowed: bare, testpmd, nftables, kernel, and {} or the same with 6, -polling or 6-polling behind it",
                lbd::MODES.join(", ")
            )),
        }
    }
}

impl Contestant {
    /// Of the packets that it gets.
    pub fn family(&self) -> Family {
        match self {
            Contestant::Lbd { family, .. } => *family,
            _ => Family::V4,
        }
    }

    /// The network that packets are for when they leave.
    pub fn destination(&self) -> (IpAddr, u32) {
        match self {
            Contestant::Nftables => self.family().server_network(),
            Contestant::Lbd { mode, family, .. } if mode != "dr" => family.server_network(),
            Contestant::Lbd { family, .. } => (family.vip(), 128),
            _ => (self.family().vip(), 32),
        }
    }

    /// Why it cannot take part on this machine, if it cannot.
    pub fn missing(&self) -> Option<&'static str> {
        match self {
            Contestant::Testpmd => testpmd::missing(),
            Contestant::Nftables => nftables::missing(),
            _ => None,
        }
    }

    /// Starts it, with room for conns of so many flows of this protocol; packets are forwarded when this returns.
    pub fn start(&self, arena: &Arena, protocol: &str, flows: u32) -> anyhow::Result<Running> {
        let balancer = &arena.balancer;
        Ok(match self {
            Contestant::Bare => Running::Process(start_bare(balancer)?),
            Contestant::Testpmd => Running::Process(testpmd::start(balancer)?),
            Contestant::Lbd {
                mode,
                family,
                busy_poll,
            } => {
                let service = lbd::Service {
                    mode,
                    family: *family,
                    protocol,
                };
                lbd::start(balancer, &service, flows, *busy_poll)?
            }
            Contestant::Nftables => Running::Kernel {
                _rules: Some(Rules::load(balancer, flows)?),
            },
            // It always runs: whatever no program takes, it forwards.
            Contestant::Kernel => Running::Kernel { _rules: None },
        })
    }
}

/// A contestant at work; it ends with this value at the latest.
pub enum Running {
    /// A process that is simply killed.
    Process(Process),
    /// The daemon's process.
    Lbd {
        /// The process.
        process: Process,
        /// The folder that its configuration and its control socket are in.
        scratch: Scratch,
    },
    /// No process, and perhaps rules.
    Kernel {
        /// Which take themselves away.
        _rules: Option<Rules>,
    },
}

impl Running {
    /// Its process, if it is one.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Running::Process(process) | Running::Lbd { process, .. } => Some(process),
            Running::Kernel { .. } => None,
        }
    }

    /// Where the daemon takes questions.
    pub fn control_socket(&self) -> Option<PathBuf> {
        match self {
            Running::Lbd { scratch, .. } => Some(scratch.path().join(lbd::SOCKET)),
            _ => None,
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

/// `program` on this CPU alone, and before other work of the machine. Not in real time: should it not stop, the machine
/// stays usable.
pub fn on_cpu(cpu: usize, program: PathBuf) -> Command {
    first_in_line(&cpu.to_string(), program)
}

/// `program` on CPUs `cpus`, before other work of the machine.
pub fn first_in_line(cpus: &str, program: PathBuf) -> Command {
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", FIRST_IN_LINE, "sh", cpus]);
    command.arg(program);
    command
}

/// Where the kernel shares a CPU among sessions first (`sched_autogroup_enabled`), a process's own priority counts for
/// nothing outside its session; so the session, which is the process's own, gets the same one.
const FIRST_IN_LINE: &str = r#"
cpus=$1; shift
[ ! -e /proc/self/autogroup ] || echo -20 >/proc/self/autogroup
exec taskset --cpu-list "$cpus" nice --adjustment=-20 "$@"
"#;

/// Whether there is a program of this name to run.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut directories = std::env::split_paths(&path).chain(sbin);
    directories.any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contestants_have_names() {
        let names = [
            "bare",
            "testpmd",
            "nat",
            "tun6",
            "dr-polling",
            "dr6-polling",
            "nftables",
            "kernel",
        ];
        let contestants = names.map(|name| name.parse::<Contestant>().map(|c| c.to_string()));
        let displayed = [
            "bare forwarder",
            "dpdk-testpmd io",
            "lbd nat",
            "lbd tun v6",
            "lbd dr polling",
            "lbd dr v6 polling",
            "nftables dnat",
            "kernel forwarding",
        ];
        assert_eq!(contestants, displayed.map(|name| Ok(name.to_owned())));
        let error = "nta".parse::<Contestant>().expect_err("a slip");
        assert!(error.contains("dr, nat, fnat, enat, tun"), "{error}");
    }

    #[test]
    fn a_shell_is_installed() {
        assert!(is_installed("sh") && !is_installed("no-such-program"));
    }
}
