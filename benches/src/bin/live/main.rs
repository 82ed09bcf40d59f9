//! `live`: how many packets per second `lbd` balances on real interfaces of this machine, next to a bare AF_XDP forwarder
//! and to the kernel's own forwarding, which get the same packets from the same generator in the same run.
//!
//! Rounds are interleaved, every contestant once in each, so that what else the machine does falls on all of them; the
//! ratios are what to trust.

mod arena;
mod bare;
mod contestant;
mod generate;
mod measure;
mod table;
mod usage;

use std::thread;

use anyhow::{Context, bail, ensure};
use arena::{Arena, frame};
use clap::{Parser, Subcommand, value_parser};
use contestant::{BALANCER_CPU, Contestant, GENERATOR_CPU, sockets};
use lb_benches::machine;
use lb_testkit::netns::skip_reason;
use measure::measure;
use table::{Row, render};

/// Packets per second of lbd on veth, next to a bare AF_XDP forwarder and the kernel's forwarding.
#[derive(Parser)]
#[command(name = "live", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Flows that the packets belong to, picked at random.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    flows: u32,
    /// Rounds; every contestant is measured once in each.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that each is measured in a round.
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// Modes of lbd to measure.
    #[arg(long, value_delimiter = ',', default_value = "dr,nat")]
    modes: Vec<String>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program runs itself as, inside a namespace.
#[derive(Subcommand)]
#[command(hide = true)]
enum Part {
    /// The bare forwarder between two interfaces.
    #[command(hide = true)]
    Forward { from: String, to: String },
    /// The generator.
    #[command(hide = true)]
    Generate { flows: u32, limit_seconds: u32 },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.part {
        Some(Part::Forward { from, to }) => bare::forward([from, to]),
        Some(Part::Generate {
            flows,
            limit_seconds,
        }) => match generate::generate(*flows, *limit_seconds)? {},
        None => compare(&arguments),
    }
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(why) = skip_reason() {
        bail!("this machine cannot measure: {why}");
    }
    let cpus = thread::available_parallelism()?.get();
    ensure!(
        cpus >= 2,
        "needs two CPUs, one for the generator and one for the contestants"
    );
    let contestants: Vec<Contestant> = [Contestant::Bare]
        .into_iter()
        .chain(
            arguments
                .modes
                .iter()
                .map(|mode| Contestant::Lbd { mode: mode.clone() }),
        )
        .chain([Contestant::Kernel])
        .collect();
    let arena = Arena::new()?;
    let mut rows: Vec<Row> = contestants.iter().map(Row::new).collect();
    let mut bound = None;
    for round in 1..=arguments.rounds {
        for (contestant, row) in contestants.iter().zip(&mut rows) {
            eprintln!("round {round} of {}: {contestant}", arguments.rounds);
            let (sample, log) = measure(&arena, contestant, arguments.flows, arguments.seconds)
                .with_context(|| contestant.to_string())?;
            row.samples.push(sample);
            bound = bound.or_else(|| sockets(&log));
        }
    }
    println!("machine  {}", machine()?);
    println!("sockets  {}", bound.as_deref().unwrap_or("none of lbd"));
    println!(
        "packets  UDP, {} bytes, {} flows at random, made on CPU {GENERATOR_CPU} for contestants on CPU {BALANCER_CPU}",
        frame().len(),
        arguments.flows,
    );
    println!(
        "rounds   {} of {} s, interleaved\n",
        arguments.rounds, arguments.seconds
    );
    print!("{}", render(&rows));
    Ok(())
}
