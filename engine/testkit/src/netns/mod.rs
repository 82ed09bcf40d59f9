//! Networks made of namespaces on this machine, with real programs at their ends.
//!
//! [`Lab`] is a client, a balancer and servers, wired with veth pairs; [`Namespace`], [`veth`] and [`bridge`]
//! are what it is made of, for a test that needs another wiring. Everything lives and dies with this process:
//! a namespace has no name under `/run/netns` and ends with the last thing that holds it open, a process
//! started in one is killed by the kernel when we are gone, however we went, and a [`Scratch`] folder is
//! removed by a watcher that outlives us for a moment. So nothing has to be cleaned up after a failed test
//! or a Ctrl-C, and labs made at the same time do not see each other.

mod addresses;
mod agent;
mod balancer;
mod client;
mod endings;
mod error;
mod iperf;
mod lab;
mod link;
mod namespace;
mod process;
mod queues;
mod scratch;
mod servers;

use std::io::Write;

pub use addresses::{BALANCER, BALANCER_BACK, CLIENT, Family, VIP, server_address, server_name};
pub use agent::{Agent, AgentPlace};
pub use balancer::{Balancer, Service};
pub use client::{
    HttpTally, UdpTally, WholeDatagrams, large_udp_request, ping, tcp_exchange, udp_requests,
};
pub use endings::{Ending, EndingServer, end_connection};
pub use error::Error;
pub use iperf::{IperfServer, Sending};
pub use lab::{Lab, Plan, Replies, Topology};
pub use link::{End, bridge, veth};
pub use namespace::Namespace;
pub use process::Process;
pub use scratch::Scratch;
pub use servers::{LineServer, SinkServer, UdpServer, WebServer, sha256};

/// Why this machine cannot run a lab, if it cannot.
pub fn skip_reason() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("network namespaces and XDP need root".to_owned());
    }
    for program in ["ip", "setpriv"] {
        if std::process::Command::new(program)
            .arg("--version")
            .output()
            .is_err()
        {
            return Some(format!("the program `{program}` is missing"));
        }
    }
    let namespace = match Namespace::new("probe") {
        Ok(namespace) => namespace,
        Err(error) => return Some(format!("no network namespace: {error}")),
    };
    if let Err(error) = namespace.ip("link add probe0 type veth peer name probe1") {
        return Some(format!("no veth pair: {error}"));
    }
    let socket = namespace.run(|| {
        rustix::net::socket(
            rustix::net::AddressFamily::XDP,
            rustix::net::SocketType::RAW,
            None,
        )
    });
    socket
        .err()
        .map(|error| format!("no AF_XDP socket: {error}"))
}

/// Whether a test that needs a lab can run; if not, it says so and the test should return.
///
/// # Panics
///
/// If it cannot run and the environment has `LB_REQUIRE_NETNS=1`: where labs must work, a skipped test is a
/// failed one.
pub fn available() -> bool {
    let Some(why) = skip_reason() else {
        return true;
    };
    assert!(
        std::env::var_os("LB_REQUIRE_NETNS").is_none_or(|value| value != "1"),
        "LB_REQUIRE_NETNS=1, but {why}"
    );
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    // Straight to the descriptor: the test runner swallows what a passing test prints. If not even that
    // works there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
    false
}
