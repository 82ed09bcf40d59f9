//! `agent`: what each role of `lbrs` costs a server, next to the same traffic without it.
//!
//! Requests are curl's, each on a new TCP connection, one after the other; throughput is what iperf3's server sends over one
//! connection. What is compared is measured right after one another, in every round, so that what else the machine does falls on
//! both; the ratios are what to trust.

mod balanced;
mod direct;
mod rates;
mod table;

use anyhow::bail;
use clap::{Parser, value_parser};
use lb_benches::machine;
use lb_testkit::netns::skip_reason;

/// What each role of lbrs costs a server, next to the same traffic without it.
#[derive(Parser)]
#[command(name = "agent")]
struct Arguments {
    /// Rounds; everything is measured once in each.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests in each measurement.
    #[arg(long, default_value_t = 2000, value_parser = value_parser!(u64).range(1..))]
    requests: u64,
    /// Seconds of throughput in each measurement.
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(why) = skip_reason() {
        bail!("this machine cannot measure: {why}");
    }
    println!("machine  {}", machine()?);
    println!(
        "rounds   {} of {} requests and {} s each\n",
        arguments.rounds, arguments.requests, arguments.seconds
    );
    println!("{}", table::render(&direct::measure(&arguments)?));
    println!("{}", table::render(&balanced::measure(&arguments)?));
    Ok(())
}
