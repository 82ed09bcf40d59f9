//! One contestant, under packets of so many flows for a while.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use lb_bpf::{Arrivals, Sink};
use lb_testkit::netns::Process;

use crate::arena::{Arena, Family, SINK, interface_index};
use crate::contestant::{Contestant, Running};
use crate::generate::Load;
use crate::table::Sample;
use crate::usage::Usage;

/// Between the first packet that came out and the start of the measurement, at least.
const WARM_UP: Duration = Duration::from_millis(500);
/// And so many packets for each flow: picked at random, 98 % of the flows have had one by then.
const PACKETS_PER_FLOW: u64 = 4;
/// How long the first packet may take, and all that the warm-up asks for.
const PATIENCE: Duration = Duration::from_secs(40);

/// Measures a contestant for so many seconds; also returns what it has printed.
pub fn measure(
    contestant: &Contestant,
    flows: u32,
    seconds: u32,
) -> anyhow::Result<(Sample, String)> {
    // A network of its own for each: what one leaves behind in the kernel does not burden the next.
    let arena = Arena::new()?;
    let sink = sink(&arena, contestant, false)?;
    let running = contestant.start(&arena, "udp", flows)?;
    let load = Load {
        v6: contestant.family() == Family::V6,
        flows,
        rate: None,
        stamped: false,
    };
    let generator = load.start(&arena)?;
    warm_up(&sink, flows, &generator, &running)?;

    let before = Look::at(&arena, &sink, &running)?;
    thread::sleep(Duration::from_secs(seconds.into()));
    let after = Look::at(&arena, &sink, &running)?;

    drop(generator);
    let log = running.log();
    running.end()?;
    no_strays(&sink, contestant)?;
    Ok((after.since(&before), log))
}

/// Where a contestant's packets end.
pub fn sink(arena: &Arena, contestant: &Contestant, stamped: bool) -> anyhow::Result<Sink> {
    let (network, prefix_len) = contestant.destination();
    arena.sink.run(|| {
        let ingress = interface_index(SINK)?;
        Ok(Sink::attach(ingress, network, prefix_len, stamped)?)
    })
}

/// An error if packets went where they should not.
pub fn no_strays(sink: &Sink, contestant: &Contestant) -> anyhow::Result<()> {
    let stray = sink.arrivals()?.stray;
    let (network, prefix_len) = contestant.destination();
    ensure!(
        stray == 0,
        "{stray} packets went elsewhere than {network}/{prefix_len}"
    );
    Ok(())
}

/// Waits until nearly all flows have become conns.
pub fn warm_up(
    sink: &Sink,
    flows: u32,
    generator: &Process,
    running: &Running,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let before = sink.arrivals()?.expected;
    let wanted = before + PACKETS_PER_FLOW * u64::from(flows);
    while sink.arrivals()?.expected < wanted {
        if start.elapsed() > PATIENCE {
            let arrived = sink.arrivals()?.expected - before;
            bail!(
                "{arrived} packets came through, too few for {flows} flows\ngenerator: {}\nbalancer: {}",
                generator.log(),
                running.log()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(WARM_UP.saturating_sub(start.elapsed()));
    Ok(())
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
