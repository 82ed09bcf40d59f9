//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lb_bpf::agent::{EnatSettings, PortMapping, Prefix, ToaSettings};
use lb_model::Addr;

use lbrs::plan::{CAPACITIES, DrPlan, EnatPlan, FLOWS, GUE_PORT, Plan, Role, TunPlan};

/// Where the configuration is if nobody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/lbd/lbrs.toml";

/// The real-server side of lbd, without kernel modules
///
/// What is attached stays attached when lbrs ends, in whatever way, until `lbrs detach`. It acts on the network namespace
/// that it is started in.
#[derive(Parser)]
#[command(name = "lbrs", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// Keep what is attached below DIR in this mount namespace [default: /run/lbrs in that of process 1]
    #[arg(long, global = true, value_name = "DIR", env = "LBRS_DIRECTORY")]
    directory: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// FNAT: let unmodified programs see the client's address in accept() and getpeername()
    Toa(ToaArguments),
    /// ENAT: restore what the client sent, and answer it directly in the VIP's name
    Enat(EnatArguments),
    /// TUN: take packets to VIPs out of IPIP, GRE and GUE, without a tunnel device
    Tun(TunArguments),
    /// DR: hold VIPs on loopback without answering ARP for them
    Dr(DrArguments),
    /// Several roles at once, as a configuration file says; SIGHUP reads it again
    Run(ConfigFile),
    /// Check a configuration file: needs no rights and touches nothing
    Check(ConfigFile),
    /// What is attached, what it counted, and whether an agent looks after it
    Status {
        /// As JSON, whose shape is described in docs/real-servers.md
        #[arg(short, long)]
        json: bool,
    },
    /// Write completions for shells and manual pages into a folder
    #[command(hide = true)]
    Dist {
        /// The folder; it must exist
        folder: PathBuf,
    },
    /// Undo roles, or everything, exactly
    Detach {
        /// Which; all if none is named
        roles: Vec<Role>,
    },
}

#[derive(Args)]
struct ToaArguments {
    /// Believe these alone: addresses or prefixes that the balancers connect from (LIPs) [default: anybody]
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    from: Vec<Prefix>,

    /// Serve the programs in all network namespaces, also of containers, not only those in this one
    #[arg(long)]
    every_namespace: bool,

    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
struct EnatArguments {
    /// The services' addresses, from which the balancer sends
    #[arg(required = true, value_name = "VIP")]
    vips: Vec<IpAddr>,

    /// A service's port and ours, like [2001:db8::100]:443=8443, where they differ: TCP over IPv6 only, IPv4 packets tell
    #[arg(long = "port", value_name = "VIP:VPORT=RPORT", value_parser = port_mapping)]
    ports: Vec<PortMapping>,

    /// How many flows to remember at most: one for a TCP connection, two for a UDP conversation
    #[arg(long, value_name = "FLOWS", default_value_t = FLOWS)]
    #[arg(value_parser = clap::value_parser!(u32).range(CAPACITIES))]
    capacity: u32,

    #[command(flatten)]
    interfaces: Interfaces,

    /// Do not put the VIPs on loopback: they are there already
    #[arg(long)]
    no_address: bool,

    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
struct TunArguments {
    /// The services' addresses
    #[arg(required = true, value_name = "VIP")]
    vips: Vec<IpAddr>,

    /// Take tunnel packets from these alone: addresses or prefixes of the balancers [default: anybody]
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    from: Vec<Prefix>,

    /// The UDP port of GUE; may be given several times
    #[arg(long = "gue-port", value_name = "PORT", default_values_t = [GUE_PORT])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    gue_ports: Vec<u16>,

    #[command(flatten)]
    interfaces: Interfaces,

    /// Do not put the VIPs on loopback: they are there already, or in a container
    #[arg(long)]
    no_address: bool,

    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
struct DrArguments {
    /// The services' addresses
    #[arg(required = true, value_name = "VIP")]
    vips: Vec<IpAddr>,

    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
struct Interfaces {
    /// Look at this interface alone; may be given several times [default: every Ethernet interface, also those that
    /// come later]
    #[arg(short, long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
}

#[derive(Args)]
struct Once {
    /// Attach and end, instead of staying to follow interfaces that come and go
    #[arg(long)]
    once: bool,
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// What is to be done.
pub enum Task {
    Attach { plan: Box<Plan>, once: bool },
    Run { config: PathBuf },
    Check { config: PathBuf },
    Status { json: bool },
    Detach { roles: Vec<Role> },
    Dist { folder: PathBuf },
}

impl Arguments {
    /// Of this process. A mistake ends it with status 2.
    pub fn from_command_line() -> Arguments {
        Arguments::parse()
    }

    /// The directory, if one was named, and what to do.
    pub fn task(self) -> (Option<PathBuf>, Task) {
        let task = match self.command {
            Command::Toa(toa) => toa.once.attach(Plan {
                toa: Some(ToaSettings {
                    from: toa.from,
                    every_namespace: toa.every_namespace,
                }),
                ..Plan::default()
            }),
            Command::Enat(enat) => enat.once.attach(Plan {
                enat: Some(EnatPlan {
                    settings: EnatSettings {
                        vips: addresses(&enat.vips),
                        ports: enat.ports,
                        capacity: enat.capacity,
                    },
                    interfaces: enat.interfaces.interfaces,
                    hold_vips: !enat.no_address,
                }),
                ..Plan::default()
            }),
            Command::Tun(tun) => tun.once.attach(Plan {
                tun: Some(TunPlan {
                    vips: addresses(&tun.vips),
                    from: tun.from,
                    gue_ports: tun.gue_ports,
                    interfaces: tun.interfaces.interfaces,
                    hold_vips: !tun.no_address,
                }),
                ..Plan::default()
            }),
            Command::Dr(dr) => dr.once.attach(Plan {
                dr: Some(DrPlan {
                    vips: addresses(&dr.vips),
                }),
                ..Plan::default()
            }),
            Command::Run(ConfigFile { config }) => Task::Run { config },
            Command::Check(ConfigFile { config }) => Task::Check { config },
            Command::Status { json } => Task::Status { json },
            Command::Detach { roles } => Task::Detach { roles },
            Command::Dist { folder } => Task::Dist { folder },
        };
        (self.directory, task)
    }
}

impl Once {
    fn attach(self, plan: Plan) -> Task {
        Task::Attach {
            plan: Box::new(plan),
            once: self.once,
        }
    }
}

fn port_mapping(text: &str) -> Result<PortMapping, String> {
    let parse = || {
        let (service, rport) = text.split_once('=')?;
        let service: SocketAddr = service.parse().ok()?;
        Some(PortMapping {
            vip: service.ip().into(),
            vport: service.port(),
            rport: rport.parse().ok()?,
        })
    };
    match parse() {
        Some(mapping) if mapping.vport != 0 && mapping.rport != 0 => Ok(mapping),
        _ => Err("write VIP:VPORT=RPORT, like [2001:db8::100]:443=8443".to_owned()),
    }
}

fn addresses(vips: &[IpAddr]) -> Vec<Addr> {
    vips.iter().copied().map(Addr::from).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn task(line: &str) -> Option<Task> {
        let words = line.split_whitespace();
        Some(Arguments::try_parse_from(words).ok()?.task().1)
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_tunnel_takes_vips_and_who_may_send() {
        let line = "lbrs tun 10.0.0.100 2001:db8::100 --from 10.1.0.254,10.2.0.0/16 -i eth0 --once";
        let Some(Task::Attach { plan, once: true }) = task(line) else {
            panic!("{line}");
        };
        let tun = plan.tun.expect("the role");
        assert_eq!((tun.vips.len(), tun.from.len()), (2, 2));
        assert_eq!(tun.gue_ports, [GUE_PORT]);
        assert_eq!(tun.interfaces, ["eth0"]);
        assert!(tun.hold_vips);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "lbrs",
            "lbrs tun",
            "lbrs dr",
            "lbrs dr 10.0.0.0/24",
            "lbrs dr somewhere",
            "lbrs tun 10.0.0.100 --from 10.1.0.1/24",
            "lbrs tun 10.0.0.100 --gue-port 0",
            "lbrs enat",
            "lbrs enat 10.0.0.100 --port 443=8443",
            "lbrs enat 10.0.0.100 --port 10.0.0.100:443=0",
            "lbrs enat 10.0.0.100 --capacity 7",
            "lbrs detach everything",
            "lbrs status twice",
        ] {
            assert!(task(line).is_none(), "{line}");
        }
    }

    #[test]
    fn enat_takes_ports_that_differ() {
        let line = "lbrs enat 2001:db8::100 --port [2001:db8::100]:443=8443 --capacity 4096";
        let Some(Task::Attach { plan, once: false }) = task(line) else {
            panic!("{line}");
        };
        let enat = plan.enat.expect("the role");
        assert_eq!(enat.settings.capacity, 4096);
        let [mapping] = enat.settings.ports[..] else {
            panic!("{:?}", enat.settings.ports);
        };
        assert_eq!((mapping.vport, mapping.rport), (443, 8443));
    }

    #[test]
    fn detaching_takes_roles_or_all() {
        assert!(matches!(task("lbrs detach"), Some(Task::Detach { roles }) if roles.is_empty()));
        let some = task("lbrs detach tun dr");
        assert!(matches!(some, Some(Task::Detach { roles }) if roles == [Role::Tun, Role::Dr]));
    }
}
