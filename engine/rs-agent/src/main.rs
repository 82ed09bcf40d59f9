//! `lbrs`: the real-server side of lbd. What other balancers need kernel modules for, it does with small eBPF programs
//! that stay attached when it ends.

mod agent;
mod arguments;
mod detach;
mod logging;
mod place;
mod presence;
mod rights;
mod status;

use std::path::Path;
use std::process::ExitCode;

use annotate_snippets::Renderer;
use anyhow::Context;
use arguments::{Arguments, Task};
use clap::CommandFactory;
use lbrs::config;

fn main() -> ExitCode {
    let (directory, task) = Arguments::from_command_line().task();
    let directory = directory.as_deref();
    let done = match task {
        Task::Attach { plan, once } => agent::attach(directory, agent::Source::Given(plan), once),
        Task::Run { config } => agent::attach(directory, agent::Source::File(config), false),
        Task::Check { config } => return check(&config),
        Task::Status { json } => status::print(directory, json),
        Task::Detach { roles } => detach::detach(directory, &roles),
        Task::Dist { folder } => lb_manual::write(Arguments::command(), &folder)
            .with_context(|| folder.display().to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("lbrs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path) -> ExitCode {
    match config::load(file) {
        Ok(_) => {
            anstream::println!("configuration {} is OK", file.display());
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            anstream::eprintln!("{}", refusal.draw(&Renderer::styled()));
            ExitCode::FAILURE
        }
    }
}
