//! `soak`: an engine in memory under everything at once for half an hour, its books audited all along.
//!
//! It ends with an error where something does not hold: frames, packets, conns, ports or the memory.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::{Parser, value_parser};
use lb_benches::{Soak, resident_bytes};

/// Mixed traffic through an engine in memory at full speed, with its books audited all along.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..))]
    minutes: u64,
    /// Decides what comes when: the same seed, the same traffic.
    #[arg(long, default_value_t = 0x5eed)]
    seed: u64,
}

/// By then every table and queue has been as full as it gets.
const SETTLED: f64 = 0.2;
/// What the allocator may round up, and the pages of the program that were not touched before.
const SLACK: u64 = 4 << 20;
const NEWS: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (minutes, seed) = (arguments.minutes, arguments.seed);
    println!("seed {seed}, {minutes} minutes");
    let duration = Duration::from_secs(60 * minutes);
    let mut soak = Soak::new(seed);
    let start = Instant::now();
    let mut news = NEWS;
    let mut settled = None;
    while start.elapsed() < duration {
        soak.run();
        let elapsed = start.elapsed();
        let resident = resident_bytes()?;
        if elapsed >= duration.mul_f64(SETTLED) {
            let settled = *settled.get_or_insert(resident);
            ensure!(
                resident <= settled + SLACK,
                "{} MiB of memory after {} s, {} MiB before: {}",
                resident >> 20,
                elapsed.as_secs(),
                settled >> 20,
                soak.report()
            );
        }
        if elapsed >= news {
            news += NEWS;
            let packets = soak.report().packets();
            println!(
                "{:>5} s  {packets:>12} packets  {:>9.0}/s  {:>5} MiB",
                elapsed.as_secs(),
                packets as f64 / elapsed.as_secs_f64(),
                resident >> 20
            );
        }
    }
    print!("{}", soak.end());
    Ok(())
}
