//! `lbctl`: asks a running lbd, and tells it what to do. Under the name `ipvsadm` it is ipvsadm.

mod arguments;
mod client;
mod ipvsadm;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::{Arguments, Task};
use clap::Parser;

fn main() -> ExitCode {
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let done = if Path::new(&name)
        .file_name()
        .is_some_and(|name| name == "ipvsadm")
    {
        let text = |word: OsString| word.to_string_lossy().into_owned();
        ipvsadm::run(&usual_socket(), words.map(text).collect())
    } else {
        let Arguments { socket, task } = Arguments::parse();
        match task {
            Task::Ipvsadm { arguments } => ipvsadm::run(&socket, arguments),
        }
    };
    match done {
        Ok(code) => code.into(),
        Err(error) => {
            anstream::eprintln!("lbctl: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where lbd listens if there is no option to say otherwise.
fn usual_socket() -> PathBuf {
    env::var_os(lb_control::SOCKET_VARIABLE)
        .map_or_else(|| lb_control::DEFAULT_SOCKET.into(), PathBuf::from)
}
