//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::replay::Files;

/// Where the configuration is if nobody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/lbd/lbd.toml";

/// A layer-4 load balancer in userspace, on AF_XDP
#[derive(Parser)]
#[command(name = "lbd", version, arg_required_else_help = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Check the configuration and exit
    #[arg(short = 't', required = true)]
    test: bool,

    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Subcommand)]
enum Command {
    /// Balance until SIGTERM or SIGINT
    Run(ConfigFile),
    /// Try a configuration on a capture: needs no rights and touches no interface
    Replay(ReplayArguments),
    /// Look whether this machine can balance, and say which command mends what is wrong: changes nothing
    #[command(after_help = "Exit codes: 0 no problem; 1 a problem, or no configuration.")]
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Interfaces to look at in place of the configuration's, which need not exist then
        interfaces: Vec<String>,
        /// Print JSON: a list of findings
        #[arg(short, long)]
        json: bool,
    },
    /// Make a configuration from keepalived's: prints it, and on stderr what is not in it as it was
    Import(ImportArguments),
    /// Write completions for shells and manual pages into a folder
    #[command(hide = true)]
    Dist {
        /// The folder; it must exist
        folder: PathBuf,
    },
    /// Check a configuration: needs no rights and touches no interface
    Check {
        /// The file to check
        #[arg(default_value = DEFAULT_CONFIG)]
        file: PathBuf,
    },
}

#[derive(Args)]
struct ReplayArguments {
    #[command(flatten)]
    config: ConfigFile,

    /// The capture to replay, pcap or pcapng
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,

    /// Where to write what the balancer sends, as pcapng
    #[arg(long = "out", value_name = "FILE")]
    output: PathBuf,

    /// Commands to execute on the way: lines SECONDS ARGS, like `1.5 -A -t 10.0.0.1:80`
    #[arg(long, value_name = "FILE")]
    commands: Option<PathBuf>,

    /// Where to write why each packet went where it went, a line of JSON for each
    #[arg(long, value_name = "FILE")]
    explain: Option<PathBuf>,
}

#[derive(Args)]
pub struct ImportArguments {
    /// keepalived's configuration
    #[arg(value_name = "KEEPALIVED_CONF")]
    pub file: PathBuf,

    /// Where to write lbd's, if not to the screen
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Balance on this interface; without it, on those of the VRRP instances
    #[arg(long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,

    /// Which lines that begin with @ are in force, as keepalived's own -i; without it, the host's name tells
    #[arg(short = 'i', long, value_name = "ID")]
    pub config_id: Option<String>,

    /// Report in JSON
    #[arg(short, long)]
    pub json: bool,
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// What is to be done, with which file.
pub enum Task {
    Check(PathBuf),
    Run(PathBuf),
    Replay {
        config: PathBuf,
        files: Files,
    },
    Dist(PathBuf),
    Doctor {
        config: PathBuf,
        interfaces: Vec<String>,
        json: bool,
    },
    Import(ImportArguments),
}

impl Arguments {
    /// Of this process. A mistake ends it with status 2.
    pub fn from_command_line() -> Arguments {
        Arguments::parse()
    }

    pub fn task(self) -> Task {
        match self.command {
            Some(Command::Run(ConfigFile { config })) => Task::Run(config),
            Some(Command::Check { file }) => Task::Check(file),
            Some(Command::Replay(replay)) => Task::Replay {
                config: replay.config.config,
                files: Files {
                    input: replay.input,
                    output: replay.output,
                    commands: replay.commands,
                    explain: replay.explain,
                },
            },
            Some(Command::Doctor {
                config: ConfigFile { config },
                interfaces,
                json,
            }) => Task::Doctor {
                config,
                interfaces,
                json,
            },
            Some(Command::Import(arguments)) => Task::Import(arguments),
            Some(Command::Dist { folder }) => Task::Dist(folder),
            // Without a command clap insists on -t.
            None => Task::Check(self.config.config),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn task(line: &str) -> Option<Task> {
        let words = line.split_whitespace();
        Arguments::try_parse_from(words).ok().map(Arguments::task)
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_check_may_be_asked_for_as_nginx_users_do() {
        for line in [
            "lbd check f",
            "lbd -t -c f",
            "lbd -t --config f",
            "lbd -c f -t",
        ] {
            let checked = matches!(task(line), Some(Task::Check(file)) if file == *"f");
            assert!(checked, "{line}");
        }
        let usual = matches!(task("lbd -t"), Some(Task::Check(file)) if file == *DEFAULT_CONFIG);
        assert!(usual);
    }

    #[test]
    fn running_takes_the_usual_file_unless_told_otherwise() {
        assert!(matches!(task("lbd run"), Some(Task::Run(file)) if file == *DEFAULT_CONFIG));
        for line in ["lbd run --config f", "lbd run -c f"] {
            assert!(
                matches!(task(line), Some(Task::Run(file)) if file == *"f"),
                "{line}"
            );
        }
    }

    #[test]
    fn mixtures_and_fragments_are_refused() {
        for line in [
            "lbd",
            "lbd -c f",
            "lbd -t run",
            "lbd run f",
            "lbd check a b",
            "lbd rnu",
        ] {
            assert!(task(line).is_none(), "{line}");
        }
    }
}
