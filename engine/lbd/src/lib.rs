//! `lbd`: the load balancer as a daemon. It reads a file, runs the [`lb`] library, and answers to signals.
//!
//! A library only so that tests and the fuzzer reach what is inside; [`main`] is all of the program.

mod administration;
mod arguments;
mod control;
mod doctor;
mod health;
mod import;
mod logging;
mod memory;
mod metrics;
mod reloads;
mod replay;
mod rights;
mod run;
mod service_manager;
mod sync_daemons;

use std::path::Path;
use std::process::ExitCode;

use annotate_snippets::Renderer;
use arguments::{Arguments, Task};
use clap::CommandFactory;
use lb_config::Settings;

pub use control::Rehearsal;

/// The program.
pub fn main() -> ExitCode {
    let done = match Arguments::from_command_line().task() {
        Task::Check(file) => check(&file),
        Task::Run(file) => run(&file),
        Task::Replay { config, files } => replay(&config, &files),
        Task::Dist(folder) => describe(&folder),
        Task::Doctor {
            config,
            interfaces,
            json,
        } => examine(&config, interfaces, json),
        Task::Import(arguments) => import::import(&arguments).map_err(|error| {
            anstream::eprintln!("lbd import: {error:#}");
            Failed
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::FAILURE,
    }
}

/// Something went wrong and has been said.
struct Failed;

fn check(file: &Path) -> Result<(), Failed> {
    load(file)?;
    anstream::println!("configuration {} is OK", file.display());
    Ok(())
}

fn run(file: &Path) -> Result<(), Failed> {
    logging::start();
    let settings = load(file)?;
    run::run(file, settings).map_err(|error| {
        tracing::error!("{error:#}");
        Failed
    })
}

fn replay(config: &Path, files: &replay::Files) -> Result<(), Failed> {
    match replay::run(&load(config)?.balancer, files) {
        Ok(true) => Ok(()),
        // The commands that failed have been printed.
        Ok(false) => Err(Failed),
        Err(error) => {
            anstream::eprintln!("lbd replay: {error:#}");
            Err(Failed)
        }
    }
}

fn examine(config: &Path, interfaces: Vec<String>, json: bool) -> Result<(), Failed> {
    match doctor::run(&doctor::Patient { config, interfaces }, json) {
        Ok(true) => Ok(()),
        // The problems have been printed.
        Ok(false) => Err(Failed),
        Err(error) => {
            anstream::eprintln!("lbd doctor: {error:#}");
            Err(Failed)
        }
    }
}

fn describe(folder: &Path) -> Result<(), Failed> {
    lb_manual::write(Arguments::command(), folder).map_err(|error| {
        anstream::eprintln!("lbd: {}: {error}", folder.display());
        Failed
    })
}

fn load(file: &Path) -> Result<Settings, Failed> {
    lb_config::load(file).map_err(|refusal| {
        anstream::eprintln!("{}", refusal.draw(&Renderer::styled()));
        Failed
    })
}
