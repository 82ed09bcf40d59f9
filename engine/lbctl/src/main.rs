//! `lbctl`: asks a running lbd, and tells it what to do. Under the name `ipvsadm` it is ipvsadm.

mod arguments;
mod client;
mod commands;
mod ipvsadm;
mod show;
mod top;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::{Arguments, Task};
use clap::{CommandFactory, Parser};
use client::Client;
use commands::{Commands, Failure};

fn main() -> ExitCode {
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let text = |word: OsString| word.to_string_lossy().into_owned();
    let words: Vec<String> = words.map(text).collect();
    let is_ipvsadm = Path::new(&name)
        .file_name()
        .is_some_and(|name| name == "ipvsadm");
    let done = if is_ipvsadm {
        ipvsadm(&usual_socket(), words)
    } else if let Some((socket, words)) = arguments::ipvsadm(&words) {
        let socket = socket.map_or_else(usual_socket, PathBuf::from);
        ipvsadm(&socket, words.to_vec())
    } else {
        run(Arguments::parse())
    };
    match done {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            anstream::eprintln!("lbctl: {failure}");
            match failure {
                Failure::Daemon(error) => error.exit_code().into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(Arguments { socket, json, task }: Arguments) -> Result<ExitCode, Failure> {
    let commands = Commands {
        client: Client::new(&socket)?,
        json,
    };
    let done = match task {
        Task::Ipvsadm { arguments } => return ipvsadm(&socket, arguments),
        Task::Status => commands.status(),
        Task::Health { service } => return commands.health(service),
        Task::Standby { undo } => commands.standby(undo),
        Task::Stats { all } => commands.stats(all),
        Task::Services => commands.services(),
        Task::Checks { down } => commands.checks(down),
        Task::Conns(arguments) => commands.conns(arguments),
        Task::Why { client, service } => commands.why(client, &service),
        Task::Top { interval } => top::run(&commands.client, interval),
        Task::Capture(arguments) => commands.capture(arguments),
        Task::Drain { server, undo } => commands.drain(server, undo),
        Task::Reload => commands.reload(),
        Task::Plan { file } => commands.plan(&file),
        Task::Save { output } => commands.save(output.as_deref()),
        Task::Dist { folder } => lb_manual::write(Arguments::command(), &folder)
            .map_err(|error| Failure::File(folder.display().to_string(), error)),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn ipvsadm(socket: &Path, arguments: Vec<String>) -> Result<ExitCode, Failure> {
    Ok(ipvsadm::run(socket, arguments)?.into())
}

/// Where lbd listens if there is no option to say otherwise.
fn usual_socket() -> PathBuf {
    env::var_os(lb_control::SOCKET_VARIABLE)
        .map_or_else(|| lb_control::DEFAULT_SOCKET.into(), PathBuf::from)
}
