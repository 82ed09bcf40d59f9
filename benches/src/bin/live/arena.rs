//! The network that the contestants are measured in.
//!
//! ```text
//!   generator          balancer            sink
//!      g0 ───────── l0  contestant  l1 ───────── r0
//! 198.18.0.0/15                     10.1.0.11 to 10.1.0.26
//! ```
//!
//! All that any contestant needs to know is set before the first packet: routes, and neighbours that never have to be
//! asked for. Packets to the VIP have a route through the first server, which is what the kernel forwards them by.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use anyhow::Context;
use lb_model::Mac;
use lb_testkit::netns::{End, Namespace, veth};
use lb_testkit::pkt;
use rustix::net::netdevice::name_to_index;

/// Where the packets are sent to.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// The service's port, and the servers'.
pub const PORT: u16 = 80;
/// The network that the servers are in.
pub const SERVERS: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 1, 0, 0), 24);
/// The first of the addresses that packets come from, in a network set aside for benches (RFC 2544).
pub const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The generator's interface.
pub const GENERATOR: &str = "g0";
/// The balancer's interfaces: where packets come in, and where they leave.
pub const BALANCER: [&str; 2] = ["l0", "l1"];
/// The sink's interface.
pub const SINK: &str = "r0";

const CLIENTS: &str = "198.18.0.0/15";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const GENERATOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
const FRONT_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x20]);
const BACK_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x21]);
const SINK_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x30]);

/// Three namespaces in a row.
pub struct Arena {
    /// Where packets come from.
    pub generator: Namespace,
    /// Where contestants run.
    pub balancer: Namespace,
    /// Where packets end.
    pub sink: Namespace,
}

impl Arena {
    /// Makes the namespaces and everything in them.
    pub fn new() -> anyhow::Result<Arena> {
        let arena = Arena {
            generator: Namespace::new("generator")?,
            balancer: Namespace::new("balancer")?,
            sink: Namespace::new("sink")?,
        };
        let Arena {
            generator,
            balancer,
            sink,
        } = &arena;
        let [front, back] = BALANCER;
        veth(End::new(generator, GENERATOR), End::new(balancer, front), 1)?;
        veth(End::new(balancer, back), End::new(sink, SINK), 1)?;
        generator.ip(&format!("link set {GENERATOR} address {GENERATOR_MAC}"))?;
        balancer.ip(&format!("link set {front} address {FRONT_MAC}"))?;
        balancer.ip(&format!("link set {back} address {BACK_MAC}"))?;
        sink.ip(&format!("link set {SINK} address {SINK_MAC}"))?;

        balancer.ip(&format!("address add 10.0.0.254/24 dev {front}"))?;
        balancer.ip(&format!("address add 10.1.0.254/24 dev {back}"))?;
        balancer.ip(&format!(
            "neighbour replace {GATEWAY} lladdr {GENERATOR_MAC} dev {front} nud permanent"
        ))?;
        for server in servers() {
            balancer.ip(&format!(
                "neighbour replace {server} lladdr {SINK_MAC} dev {back} nud permanent"
            ))?;
        }
        let [first, ..] = servers();
        balancer.ip(&format!("route add {VIP} via {first}"))?;
        balancer.ip(&format!("route add {CLIENTS} via {GATEWAY}"))?;
        balancer.sysctl("net/ipv4/ip_forward", "1")?;

        // Without it a veth takes frames from a generator only where there is an XDP program, and the kernel's
        // forwarding would see none.
        let mut offloads = Command::new("ethtool");
        offloads.args(["--offload", front, "gro", "on"]);
        (balancer.check_output(offloads))
            .context("GRO on the balancer's veth (is ethtool there?)")?;
        Ok(arena)
    }

    /// How many packets have reached the balancer's interface so far.
    pub fn offered(&self) -> anyhow::Result<u64> {
        // Not `/proc/net`, which is that of the process's first thread.
        let table = (self.balancer).run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        received(&table, BALANCER[0]).context("/proc/net/dev is not as expected")
    }
}

/// From `/proc/net/dev`: the packets that an interface has received.
fn received(table: &str, interface: &str) -> Option<u64> {
    let (_, counters) = (table.lines())
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == interface)?;
    counters.split_whitespace().nth(1)?.parse().ok()
}

/// The servers' addresses.
pub fn servers() -> [Ipv4Addr; 16] {
    std::array::from_fn(|index| Ipv4Addr::new(10, 1, 0, 11 + index as u8))
}

/// What the generator makes its packets of: the smallest Ethernet frame, with room for its source.
pub fn frame() -> Vec<u8> {
    pkt()
        .ethernet(GENERATOR_MAC, FRONT_MAC)
        .ipv4(Ipv4Addr::UNSPECIFIED, VIP)
        .udp(0, PORT)
        .payload(&[0; 18])
        .bytes()
}

/// The index of an interface in the calling thread's namespace.
pub fn interface_index(name: &str) -> anyhow::Result<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    name_to_index(socket, name).with_context(|| format!("interface {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_from_bytes_and_interfaces_apart() {
        let table = "Inter-|   Receive\n face |bytes    packets\n    lo: 8 1 0\n    l0: 600 10 3\n";
        assert_eq!(received(table, "l0"), Some(10));
        assert_eq!(received(table, "l"), None);
    }
}
