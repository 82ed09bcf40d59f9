//! `live`: how many packets per second each contestant forwards.

use anyhow::Context;
use clap::{Args, value_parser};
use lb_benches::machine;

use crate::arena::Family;
use crate::contestant::{BALANCER_CPU, Contestant, GENERATOR_CPU};
use crate::lbd::sockets;
use crate::measure::measure;
use crate::table::{Row, render};
use crate::taking_part;

/// What is measured, and how long.
#[derive(Args)]
pub struct Packets {
    /// Flows that the packets belong to, picked at random; each number makes a table.
    #[arg(long, value_delimiter = ',', default_value = "1000", value_parser = value_parser!(u32).range(1..))]
    flows: Vec<u32>,
    /// Rounds; every contestant is measured once in each.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that each is measured in a round.
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// Who is measured; the first is the measure of the others.
    #[arg(
        long = "of",
        value_delimiter = ',',
        default_value = "bare,testpmd,dr,nat,fnat,enat,tun,dr6,nat6,tun6,nftables,kernel"
    )]
    contestants: Vec<Contestant>,
}

/// Prints a table for each number of flows.
pub fn compare(arguments: &Packets) -> anyhow::Result<()> {
    let contestants = taking_part(&arguments.contestants);
    println!("machine  {}", machine()?);
    for flows in &arguments.flows {
        let mut rows: Vec<Row> = contestants.iter().map(Row::new).collect();
        let mut bound = None;
        for round in 1..=arguments.rounds {
            for (contestant, row) in contestants.iter().zip(&mut rows) {
                eprintln!(
                    "{flows} flows, round {round} of {}: {contestant}",
                    arguments.rounds
                );
                let (sample, log) = measure(contestant, *flows, arguments.seconds)
                    .with_context(|| contestant.to_string())?;
                row.samples.push(sample);
                bound = bound.or_else(|| sockets(&log));
            }
        }
        println!("sockets  {}", bound.as_deref().unwrap_or("none of lbd"));
        println!(
            "packets  UDP, {} bytes over IPv4, {} over IPv6, {flows} flows at random, made on CPU {GENERATOR_CPU} for \
             contestants on CPU {BALANCER_CPU}",
            Family::V4.frame().len(),
            Family::V6.frame().len(),
        );
        println!(
            "rounds   {} of {} s, interleaved\n",
            arguments.rounds, arguments.seconds
        );
        println!("{}", render(&rows));
    }
    Ok(())
}
