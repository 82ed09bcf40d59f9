//! The generator, as a process of its own: pinned to its CPU, and gone with the bench.

use std::convert::Infallible;

use lb_bpf::Generator;
use nix::unistd::alarm;

use crate::arena::{FIRST_CLIENT, GENERATOR, frame, interface_index};

/// As many as can be asked for at once: some minutes' worth. Every new beginning takes the kernel some 20 ms, in which
/// nothing is sent.
const PACKETS: u32 = i32::MAX as u32;

/// Sends packets, as many as this CPU can make, until the process is killed, which it sees to itself after
/// `limit_seconds`.
pub fn generate(flows: u32, limit_seconds: u32) -> anyhow::Result<Infallible> {
    let generator = Generator::load(interface_index(GENERATOR)?, &frame(), flows, FIRST_CLIENT)?;
    alarm::set(limit_seconds);
    loop {
        generator.send(PACKETS)?;
    }
}
