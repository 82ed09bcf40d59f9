//! `live`: what `lbd` does on real interfaces of this machine, next to others that get the same packets from the same
//! generator in the same run: a bare AF_XDP forwarder, DPDK's forwarder, and the kernel's balancing and forwarding.
//!
//! Rounds are interleaved, every contestant once in each, so that what else the machine does falls on all of them; the
//! ratios are what to trust.

mod arena;
mod bare;
mod connections;
mod contestant;
mod generate;
mod idle;
mod latency;
mod lbd;
mod listing;
mod measure;
mod nftables;
mod packets;
mod table;
mod testpmd;
mod usage;

use std::thread;

use anyhow::{bail, ensure};
use clap::{Parser, Subcommand};
use contestant::Contestant;
use lb_testkit::netns::skip_reason;

/// lbd on veth, next to other forwarders and balancers.
#[derive(Parser)]
#[command(name = "live", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    packets: packets::Packets,
    #[command(subcommand)]
    other: Option<Other>,
}

/// What is measured in place of packets per second.
#[derive(Subcommand)]
enum Other {
    /// New TCP connections per second.
    Connections(connections::Connections),
    /// How long packets take, at a low load and at a high one.
    Latency(latency::Latency),
    /// CPU time while nothing comes.
    Idle(idle::Idle),
    /// What packets notice of all conns being listed.
    Listing(listing::Listing),
    /// The bare forwarder between two interfaces; what this program runs itself as, inside a namespace.
    #[command(hide = true)]
    Forward { from: String, to: String },
    /// The generator, likewise.
    #[command(hide = true)]
    Generate(generate::Load),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.other {
        Some(Other::Forward { from, to }) => return bare::forward([from, to]),
        Some(Other::Generate(load)) => match generate::generate(load)? {},
        _ => {}
    }
    if let Some(why) = skip_reason() {
        bail!("this machine cannot measure: {why}");
    }
    ensure!(
        thread::available_parallelism()?.get() >= 2,
        "needs two CPUs, one for the generator and one for the contestants"
    );
    match &arguments.other {
        Some(Other::Connections(arguments)) => connections::compare(arguments),
        Some(Other::Latency(arguments)) => latency::compare(arguments),
        Some(Other::Idle(arguments)) => idle::watch(arguments),
        Some(Other::Listing(arguments)) => listing::watch(arguments),
        _ => packets::compare(&arguments.packets),
    }
}

/// Those who can take part on this machine; the others, and why not, are said.
fn taking_part(contestants: &[Contestant]) -> Vec<Contestant> {
    let can = |contestant: &&Contestant| match contestant.missing() {
        Some(why) => {
            println!("SKIPPED: {contestant}: {why}");
            false
        }
        None => true,
    };
    contestants.iter().filter(can).cloned().collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
        let arguments = Arguments::parse_from(["live", "--flows", "1000,1000000"]);
        assert!(arguments.other.is_none());
        let arguments = Arguments::parse_from(["live", "connections", "--of", "nftables,nat"]);
        assert!(matches!(arguments.other, Some(Other::Connections(_))));
    }
}
