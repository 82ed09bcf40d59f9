//! `live idle`: what `lbd` takes of a CPU while nothing comes.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, value_parser};
use lb_benches::machine;

use crate::arena::Arena;
use crate::contestant::Contestant;
use crate::usage::Usage;

/// How long.
#[derive(Args)]
pub struct Idle {
    /// Seconds that it is watched.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// Its mode.
    #[arg(long, default_value = "nat")]
    of: Contestant,
}

/// Prints its CPU time.
pub fn watch(arguments: &Idle) -> anyhow::Result<()> {
    let arena = Arena::new()?;
    let running = arguments.of.start(&arena, "udp", 1_000)?;
    let process = running.process().context("that is no process")?.id();
    let before = Usage::of(process)?;
    thread::sleep(Duration::from_secs(arguments.seconds.into()));
    let used = Usage::of(process)?.since(&before);
    running.end()?;
    println!("machine  {}", machine()?);
    let share = used.running.as_secs_f64() / f64::from(arguments.seconds);
    println!(
        "idle     {}: {:.3} s on a CPU in {} s, {:.2} %",
        arguments.of,
        used.running.as_secs_f64(),
        arguments.seconds,
        100.0 * share
    );
    Ok(())
}
