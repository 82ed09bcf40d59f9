//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Asks a running lbd, and tells it what to do
///
/// Exit codes: 0 done; 1 refused, or failed; 2 the command line is wrong; 3 lbd is not running, or the socket is not for
/// this user; 4 there is no such thing.
#[derive(Parser)]
#[command(
    name = "lbctl",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Arguments {
    /// Where lbd listens
    #[arg(
        long,
        value_name = "PATH",
        env = lb_control::SOCKET_VARIABLE,
        default_value = lb_control::DEFAULT_SOCKET,
        global = true
    )]
    pub socket: PathBuf,

    /// Print JSON, as the socket gives it
    #[arg(short, long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub task: Task,
}

/// The socket, if named, and ipvsadm's own words, of a command line `[--socket PATH] ipvsadm WORDS...`: whatever follows
/// is ipvsadm's, also where it looks like an option of ours.
pub fn ipvsadm(words: &[String]) -> Option<(Option<String>, &[String])> {
    match words {
        [name, rest @ ..] if name == "ipvsadm" => Some((None, rest)),
        [option, path, name, rest @ ..] if option == "--socket" && name == "ipvsadm" => {
            Some((Some(path.clone()), rest))
        }
        [option, name, rest @ ..] if name == "ipvsadm" => {
            Some((Some(option.strip_prefix("--socket=")?.to_owned()), rest))
        }
        _ => None,
    }
}

/// What is to be done.
#[derive(Subcommand)]
pub enum Task {
    /// How lbd is
    Status,
    /// Whether this balancer should have the traffic, for keepalived and the like: exit code 0 if so, 1 if not
    Health {
        /// Also whether this service has a server that takes new conns
        #[arg(value_name = "VIP:VPORT")]
        service: Option<String>,
    },
    /// Leave the traffic to other balancers: no longer healthy, and without the VIPs that lbd put on interfaces
    Standby {
        /// Take it back
        #[arg(long)]
        undo: bool,
    },
    /// Count: packets, conns, and every reason for which a packet was not forwarded
    Stats {
        /// Those that are 0, too
        #[arg(short, long)]
        all: bool,
    },
    /// Virtual services and their real servers
    Services,
    /// Health checks: which servers are up and down, since when and why
    Checks {
        /// Only servers that are down
        #[arg(long)]
        down: bool,
    },
    /// Connections
    Conns(ConnArguments),
    /// Why a packet goes where it goes: its conn, or what would be decided if it opened one
    Why {
        /// Where it comes from
        #[arg(value_name = "CIP:CPORT")]
        client: String,
        /// Where it is addressed to
        #[arg(value_name = "VIP:VPORT[/udp]")]
        service: String,
    },
    /// Show live what goes on: services, servers, workers, drops
    Top {
        /// Seconds between two looks
        #[arg(short, long, default_value = "1", value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
    },
    /// Record packets with what was decided about each, as pcapng
    Capture(CaptureArguments),
    /// Let a server's conns end and give it no new ones; without a server: those being drained
    Drain {
        /// The server, in whichever services it is
        #[arg(value_name = "RIP[:RPORT]")]
        server: Option<String>,
        /// Give it its weight back
        #[arg(long, requires = "server")]
        undo: bool,
    },
    /// Put the configuration file into force as it is now, whole or not at all
    Reload,
    /// Say what a configuration would change
    Plan {
        /// The file
        file: PathBuf,
    },
    /// Print the configuration in force, with what was changed since, as a file
    Save {
        /// Where to write it, if not to the screen
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Do a command line of ipvsadm; this program under the name ipvsadm does nothing else
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// As ipvsadm takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write completions for shells and manual pages into a folder
    #[command(hide = true)]
    Dist {
        /// The folder; it must exist
        folder: PathBuf,
    },
}

/// Which conns.
#[derive(Args)]
pub struct ConnArguments {
    #[command(flatten)]
    pub flow: FlowArguments,
    /// A state, like established or syn_recv
    #[arg(long)]
    pub state: Option<String>,
    /// No more than so many
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Only how many
    #[arg(long)]
    pub count: bool,
}

/// Which flows. Ends are 10.0.0.0/8, 10.0.0.1, 10.0.0.1:80, [2001:db8::1]:80 or :80
#[derive(Args, Clone)]
pub struct FlowArguments {
    /// tcp or udp
    #[arg(short, long)]
    pub protocol: Option<String>,
    /// The client's end
    #[arg(short, long, value_name = "END")]
    pub client: Option<String>,
    /// The service's end
    #[arg(short, long, value_name = "END")]
    pub service: Option<String>,
    /// The real server's end
    #[arg(short = 'r', long, value_name = "END")]
    pub server: Option<String>,
}

/// Which packets.
#[derive(Args)]
pub struct CaptureArguments {
    #[command(flatten)]
    pub flow: FlowArguments,
    /// Only packets that were not forwarded
    #[arg(long)]
    pub drops: bool,
    /// Stop after so many packets
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// Bytes of each packet that are kept
    #[arg(long, value_name = "BYTES", default_value = "65535")]
    pub snap: u32,
    /// Where to write it; - is the standard output, for wireshark -k -i -
    #[arg(short, long, value_name = "FILE")]
    pub write: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_follows_ipvsadm_is_its_own() {
        for line in ["-Ln", "-h", "-A -t 10.0.0.1:80 -s rr", "-V", "-j", ""] {
            for (before, socket) in [
                ("", None),
                ("--socket s", Some("s")),
                ("--socket=s", Some("s")),
            ] {
                let words = format!("{before} ipvsadm {line}");
                let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
                let found = ipvsadm(&words).expect("ipvsadm");
                assert_eq!(found.0.as_deref(), socket);
                assert_eq!(found.1.join(" "), line);
            }
        }
        for line in ["status", "--socket ipvsadm status", "", "-j", "--socket"] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(ipvsadm(&words), None, "{line}");
        }
    }
}
