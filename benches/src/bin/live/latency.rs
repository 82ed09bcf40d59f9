//! `live latency`: how long packets take from the generator to the sink, at a low load and at 80 % of what a contestant can
//! forward.
//!
//! The generator writes the time into each packet as it makes it, and the sink looks at its clock as the packet arrives, so
//! nothing of either's own is in the figures but for the kernel's batches of 64 calls of the generator, of which a packet
//! waits for the end: some microseconds, the same for all.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, value_parser};
use lb_benches::figures::{aligned, grouped, median, number};
use lb_benches::machine;
use lb_bpf::{Latencies, Sink};

use crate::arena::{Arena, Family};
use crate::contestant::{Contestant, Running};
use crate::generate::Load;
use crate::measure::{no_strays, sink, warm_up};
use crate::taking_part;

/// Packets per second, of which no contestant notices anything.
const LOW: u32 = 10_000;
/// Of what it can forward.
const HIGH: f64 = 0.8;
/// How long it is tried what that is.
const TRIAL: Duration = Duration::from_secs(1);
/// Too few conns to matter.
const FLOWS: u32 = 1_000;

/// What is measured, and how long.
#[derive(Args)]
pub struct Latency {
    /// Rounds; every contestant is measured once in each.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that each is measured at either load in a round.
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// Who is measured; what the others add to the first one's latency is told, too.
    #[arg(
        long = "of",
        value_delimiter = ',',
        default_value = "bare,testpmd,dr,nat,fnat,tun,nftables,kernel"
    )]
    contestants: Vec<Contestant>,
}

/// One contestant in one round.
struct Sample {
    /// Packets per second, at most.
    most: f64,
    /// Median and 99th percentile at the low load, then at the high one; in microseconds.
    latencies: [f64; 4],
}

/// Prints the table.
pub fn compare(arguments: &Latency) -> anyhow::Result<()> {
    let contestants = taking_part(&arguments.contestants);
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 1..=arguments.rounds {
        for (contestant, samples) in contestants.iter().zip(&mut samples) {
            eprintln!(
                "latency, round {round} of {}: {contestant}",
                arguments.rounds
            );
            let sample =
                measure(contestant, arguments.seconds).with_context(|| contestant.to_string())?;
            samples.push(sample);
        }
    }
    println!("machine  {}", machine()?);
    println!(
        "latency  one way, microseconds, at {LOW} packets/s and at 80 % of each one's most; medians of {} rounds of {} s, \
         interleaved\n",
        arguments.rounds, arguments.seconds
    );
    let header = [
        "",
        "most/s",
        "low p50",
        "p99",
        "high p50",
        "p99",
        "low p50 added",
        "high p50 added",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    let middle = |samples: &[Sample], which: usize| {
        let values: Vec<f64> = samples
            .iter()
            .map(|sample| sample.latencies[which])
            .collect();
        median(&values)
    };
    for (contestant, own) in contestants.iter().zip(&samples) {
        let most: Vec<f64> = own.iter().map(|sample| sample.most).collect();
        let added = |which| Some(middle(own, which)? - middle(&samples[0], which)?);
        lines.push([
            contestant.to_string(),
            number(median(&most), grouped),
            number(middle(own, 0), tenths),
            number(middle(own, 1), tenths),
            number(middle(own, 2), tenths),
            number(middle(own, 3), tenths),
            number(added(0), tenths),
            number(added(2), tenths),
        ]);
    }
    println!("{}", aligned(&lines));
    Ok(())
}

fn measure(contestant: &Contestant, seconds: u32) -> anyhow::Result<Sample> {
    let arena = Arena::new()?;
    let sink = sink(&arena, contestant, true)?;
    let running = contestant.start(&arena, "udp", FLOWS)?;
    let under = |rate, time| under_load(&arena, contestant, &sink, &running, rate, time);
    let (most, _) = under(None, TRIAL)?;
    let time = Duration::from_secs(seconds.into());
    let (_, low) = under(Some(LOW), time)?;
    let (_, high) = under(Some((most * HIGH) as u32), time)?;
    running.end()?;
    no_strays(&sink, contestant)?;
    let micros = |latencies: &Latencies, percent| {
        let time = latencies.percentile(percent);
        let time = time.context("no packet has arrived")?;
        anyhow::Ok(time.as_nanos() as f64 / 1000.0)
    };
    let latencies = [
        micros(&low, 50.0)?,
        micros(&low, 99.0)?,
        micros(&high, 50.0)?,
        micros(&high, 99.0)?,
    ];
    Ok(Sample { most, latencies })
}

/// Packets that have arrived in a second, and their latencies.
fn under_load(
    arena: &Arena,
    contestant: &Contestant,
    sink: &Sink,
    running: &Running,
    rate: Option<u32>,
    time: Duration,
) -> anyhow::Result<(f64, Latencies)> {
    let load = Load {
        v6: contestant.family() == Family::V6,
        flows: FLOWS,
        rate,
        stamped: true,
    };
    let generator = load.start(arena)?;
    warm_up(sink, FLOWS, &generator, running)?;
    let (start, packets, latencies) = (Instant::now(), sink.arrivals()?, sink.latencies()?);
    thread::sleep(time);
    let (end, after) = (Instant::now(), sink.arrivals()?);
    let packets = (after.expected - packets.expected) as f64;
    let latencies = sink.latencies()?.since(&latencies);
    drop(generator);
    Ok((packets / (end - start).as_secs_f64(), latencies))
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}
