//! One contestant in one round: set up, warmed up, measured, ended.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use lb_bpf::{Arrivals, Sink};
use lb_testkit::netns::Process;

use crate::arena::{Arena, SINK, interface_index};
use crate::contestant::{Contestant, GENERATOR_CPU, Running, on_cpu};
use crate::table::Sample;
use crate::usage::Usage;

/// Between the first packet that came out and the start of the measurement: all flows have become conns by then.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long the first packet may take.
const FIRST_PACKET: Duration = Duration::from_secs(20);

/// Measures a contestant under packets of so many flows for a while; also returns what it has printed.
pub fn measure(
    arena: &Arena,
    contestant: &Contestant,
    flows: u32,
    seconds: u32,
) -> anyhow::Result<(Sample, String)> {
    let (network, prefix_len) = contestant.destination();
    let sink = (arena.sink)
        .run(|| anyhow::Ok(Sink::attach(interface_index(SINK)?, network, prefix_len)?))?;
    let running = contestant.start(arena, flows)?;
    let generator = start_generator(arena, flows, seconds)?;
    first_packet(&sink, &generator, &running)?;
    thread::sleep(WARM_UP);

    let before = Look::at(arena, &sink, &running)?;
    thread::sleep(Duration::from_secs(seconds.into()));
    let after = Look::at(arena, &sink, &running)?;

    drop(generator);
    let log = running.log();
    running.end()?;
    let stray = after.arrivals.stray;
    ensure!(
        stray == 0,
        "{stray} packets went elsewhere than {network}/{prefix_len}"
    );
    Ok((after.since(&before), log))
}

/// All counters at one time.
struct Look {
    time: Instant,
    arrivals: Arrivals,
    offered: u64,
    usage: Option<Usage>,
}

impl Look {
    fn at(arena: &Arena, sink: &Sink, running: &Running) -> anyhow::Result<Look> {
        let process = running.process();
        Ok(Look {
            offered: arena.offered()?,
            usage: process.map(|process| Usage::of(process.id())).transpose()?,
            arrivals: sink.arrivals()?,
            time: Instant::now(),
        })
    }

    fn since(&self, earlier: &Look) -> Sample {
        let usage = self.usage.zip(earlier.usage);
        Sample {
            elapsed: self.time - earlier.time,
            offered: self.offered - earlier.offered,
            packets: self.arrivals.expected - earlier.arrivals.expected,
            usage: usage.map(|(now, earlier)| now.since(&earlier)),
        }
    }
}

fn start_generator(arena: &Arena, flows: u32, seconds: u32) -> anyhow::Result<Process> {
    // It is stopped when the measurement is over; the limit is for the case that nobody does.
    let limit = u64::from(seconds) + (FIRST_PACKET + 2 * WARM_UP).as_secs();
    let mut command = on_cpu(GENERATOR_CPU, std::env::current_exe()?);
    command.args(["generate", &flows.to_string(), &limit.to_string()]);
    Ok(arena.generator.spawn(command)?)
}

fn first_packet(sink: &Sink, generator: &Process, running: &Running) -> anyhow::Result<()> {
    let give_up = Instant::now() + FIRST_PACKET;
    while sink.arrivals()?.expected == 0 {
        if Instant::now() > give_up {
            bail!(
                "no packet came through\ngenerator: {}\nbalancer: {}",
                generator.log(),
                running.log()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
