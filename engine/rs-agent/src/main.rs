//! `lbrs`: the real-server side of lbd. What other balancers need kernel modules for, it does with small eBPF programs
//! that stay attached when it ends.

mod agent;
mod arguments;
mod config;
mod detach;
mod logging;
mod place;
mod plan;
mod presence;
mod rights;
mod status;

use std::process::ExitCode;

use arguments::{Arguments, Task};

fn main() -> ExitCode {
    let (directory, task) = Arguments::from_command_line().task();
    let directory = directory.as_deref();
    let done = match task {
        Task::Attach { plan, once } => agent::attach(directory, agent::Source::Given(plan), once),
        Task::Run { config } => agent::attach(directory, agent::Source::File(config), false),
        Task::Check { config } => config::load(&config).map(|_| {
            anstream::println!("configuration {} is OK", config.display());
        }),
        Task::Status { json } => status::print(directory, json),
        Task::Detach { roles } => detach::detach(directory, &roles),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("lbrs: {error:#}");
            ExitCode::FAILURE
        }
    }
}
