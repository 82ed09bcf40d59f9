//! DPDK's packet forwarder as a contestant: what comes in on one port goes out on the other, untouched.
//!
//! Its AF_XDP driver is bound to the same interfaces by sockets of the same kind as ours. It runs without huge pages,
//! which would have to be reserved from the machine beforehand.

use lb_testkit::netns::{Namespace, Process};

use crate::arena::BALANCER;
use crate::contestant::{BALANCER_CPU, GENERATOR_CPU, LIMIT, first_in_line, is_installed};

const PROGRAM: &str = "dpdk-testpmd";
/// What it prints when packets are being forwarded.
const READY: &str = "forwards packets on";
/// It reads its input otherwise, and takes the end of that for its own.
const STATISTICS_EVERY_SECONDS: &str = "100000";

/// Why it cannot take part, if it cannot.
pub fn missing() -> Option<&'static str> {
    (!is_installed(PROGRAM))
        .then_some("there is no dpdk-testpmd (Debian: dpdk-dev and librte-net-af-xdp23 or later)")
}

/// Starts it.
pub fn start(namespace: &Namespace) -> anyhow::Result<Process> {
    // One core for its command line, which sleeps, and one to forward.
    let cores = format!("{GENERATOR_CPU},{BALANCER_CPU}");
    // Line by line, or its first words would come with its last.
    let mut command = first_in_line(&cores, "stdbuf".into());
    command
        .args(["--output=L", PROGRAM, "-l", &cores])
        .args(["--main-lcore", &GENERATOR_CPU.to_string()])
        .args(["--no-pci", "--no-huge", "--no-shconf", "-m", "256"]);
    for (port, interface) in BALANCER.iter().enumerate() {
        let device = format!("net_af_xdp{port},iface={interface},start_queue=0,queue_count=1");
        command.args(["--vdev", &device]);
    }
    command
        .args(["--", "--forward-mode=io", "--nb-cores=1", "--auto-start"])
        .args(["--total-num-mbufs=32768", "--burst=64"])
        .args(["--stats-period", STATISTICS_EVERY_SECONDS]);
    let mut process = namespace.spawn(command)?;
    process.wait_for(READY, LIMIT)?;
    Ok(process)
}
