//! The generator, as a process of its own: pinned to its CPU, and gone with the bench.

use std::convert::Infallible;

use clap::Args;
use lb_bpf::{Generator, Stream};
use lb_testkit::netns::Process;
use nix::unistd::alarm;

use crate::arena::{Arena, Family, GENERATOR, interface_index};
use crate::contestant::{GENERATOR_CPU, on_cpu};

/// As many as can be asked for at once: some minutes' worth. Every new beginning takes the kernel some 20 ms, in which
/// nothing is sent.
const PACKETS: u32 = i32::MAX as u32;

/// Should nobody end it, it does so itself after this time.
const LIMIT_SECONDS: u32 = 180;

/// What it sends.
#[derive(Args, Clone, Copy, Debug)]
pub struct Load {
    /// Over IPv6.
    #[arg(long)]
    pub v6: bool,
    /// Flows that the packets are of.
    #[arg(long)]
    pub flows: u32,
    /// Packets per second; as many as this CPU can make without it.
    #[arg(long)]
    pub rate: Option<u32>,
    /// With the time in each packet.
    #[arg(long)]
    pub stamped: bool,
}

impl Load {
    /// Starts a process that sends this until it is dropped.
    pub fn start(&self, arena: &Arena) -> anyhow::Result<Process> {
        let mut command = on_cpu(GENERATOR_CPU, std::env::current_exe()?);
        command.args(["generate", "--flows", &self.flows.to_string()]);
        command.args(self.v6.then_some("--v6"));
        command.args(self.stamped.then_some("--stamped"));
        if let Some(rate) = self.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        Ok(arena.generator.spawn(command)?)
    }
}

/// Sends packets until the process is killed.
pub fn generate(load: &Load) -> anyhow::Result<Infallible> {
    let family = if load.v6 { Family::V6 } else { Family::V4 };
    let stream = Stream {
        frame: family.frame(),
        flows: load.flows,
        first_client: family.first_client(),
        rate: load.rate,
        stamped: load.stamped,
    };
    let generator = Generator::load(interface_index(GENERATOR)?, &stream)?;
    alarm::set(LIMIT_SECONDS);
    loop {
        generator.send(PACKETS)?;
    }
}
