//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Asks a running lbd, and tells it what to do
#[derive(Parser)]
#[command(name = "lbctl", version, arg_required_else_help = true)]
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

    #[command(subcommand)]
    pub task: Task,
}

/// What is to be done.
#[derive(Subcommand)]
pub enum Task {
    /// Do a command line of ipvsadm; this program under the name ipvsadm does nothing else
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// As ipvsadm takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
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
        for line in ["-Ln", "-h", "-A -t 10.0.0.1:80 -s rr", "-V", ""] {
            let words = ["lbctl", "ipvsadm"]
                .into_iter()
                .chain(line.split_whitespace());
            let Ok(Arguments { task, .. }) = Arguments::try_parse_from(words) else {
                panic!("{line}")
            };
            let Task::Ipvsadm { arguments } = task;
            assert_eq!(arguments.join(" "), line);
        }
    }
}
