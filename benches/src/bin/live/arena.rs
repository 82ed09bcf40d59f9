//! The network that the contestants are measured in.
//!
//! ```text
//!   generator          balancer            sink
//!      g0 ───────── l0  contestant  l1 ───────── r0
//! 198.18.0.0/15                     10.1.0.11 to 10.1.0.26
//! 2001:2::/48                       2001:db8:1::b to 2001:db8:1::1a
//! ```
//!
//! All that any contestant needs to know is set before the first packet: routes, and neighbours that never have to be
//! asked for. Packets to the VIP have a route through the first server, which is what the kernel forwards them by.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;

use anyhow::Context;
use lb_model::Mac;
use lb_testkit::netns::{End, Namespace, veth};
use lb_testkit::pkt;
use rustix::net::netdevice::name_to_index;

/// The service's port, and the servers'.
pub const PORT: u16 = 80;
/// The generator's interface.
pub const GENERATOR: &str = "g0";
/// The balancer's interfaces: where packets come in, and where they leave.
pub const BALANCER: [&str; 2] = ["l0", "l1"];
/// The sink's interface.
pub const SINK: &str = "r0";
/// The generator's own address, as a client that speaks TCP has it.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Sources of packets to servers that do not see their clients: each has some 64,000 ports for each server.
pub const LOCAL_ADDRESSES: [&str; 2] = ["10.1.0.200", "10.1.0.201"];

const CLIENTS: &str = "198.18.0.0/15";
const CLIENTS_V6: &str = "2001:2::/48";
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const GENERATOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
const FRONT_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x20]);
const BACK_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x21]);
const SINK_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x30]);

/// Of a contestant's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Where the packets are sent to.
    pub fn vip(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(10, 0, 0, 100).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64).into(),
        }
    }

    /// The servers' addresses.
    pub fn servers(self) -> [IpAddr; 16] {
        std::array::from_fn(|index| match self {
            Family::V4 => Ipv4Addr::new(10, 1, 0, 11 + index as u8).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 11 + index as u16).into(),
        })
    }

    /// The network that the servers are in.
    pub fn server_network(self) -> (IpAddr, u32) {
        match self {
            Family::V4 => (Ipv4Addr::new(10, 1, 0, 0).into(), 24),
            Family::V6 => (Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0).into(), 64),
        }
    }

    /// What the generator makes its packets of, with room for the rest of their sources: over IPv4 the smallest Ethernet
    /// frame.
    pub fn frame(self) -> Vec<u8> {
        let clients: IpAddr = match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0).into(),
        };
        pkt()
            .ethernet(GENERATOR_MAC, FRONT_MAC)
            .ip(clients, self.vip())
            .udp(0, PORT)
            .payload(&[0; 18])
            .bytes()
    }

    /// The last four bytes of the first address that packets come from, in networks set aside for benches (RFC 2544 and
    /// RFC 5180).
    pub fn first_client(self) -> u32 {
        match self {
            Family::V4 => Ipv4Addr::new(198, 18, 0, 1).to_bits(),
            Family::V6 => 1,
        }
    }
}

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
        // Without duplicate address detection: the addresses are wanted now.
        balancer.ip(&format!("address add 2001:db8::fe/64 dev {front} nodad"))?;
        balancer.ip(&format!("address add 2001:db8:1::fe/64 dev {back} nodad"))?;
        let gateways: [(IpAddr, &str); 2] =
            [(CLIENT.into(), CLIENTS), (GATEWAY_V6.into(), CLIENTS_V6)];
        for (gateway, clients) in gateways {
            balancer.ip(&format!(
                "neighbour replace {gateway} lladdr {GENERATOR_MAC} dev {front} nud permanent"
            ))?;
            balancer.ip(&format!("route add {clients} via {gateway}"))?;
        }
        for family in [Family::V4, Family::V6] {
            for server in family.servers() {
                balancer.ip(&format!(
                    "neighbour replace {server} lladdr {SINK_MAC} dev {back} nud permanent"
                ))?;
            }
            let (vip, [first, ..]) = (family.vip(), family.servers());
            balancer.ip(&format!("route add {vip} via {first}"))?;
        }
        balancer.sysctl("net/ipv4/ip_forward", "1")?;

        // Without it a veth takes frames from a generator only where there is an XDP program, and the kernel's
        // forwarding would see none.
        let mut offloads = Command::new("ethtool");
        offloads.args(["--offload", front, "gro", "on"]);
        (balancer.check_output(offloads))
            .context("GRO on the balancer's veth (is ethtool there?)")?;
        Ok(arena)
    }

    /// Lets the generator and the sink speak TCP, too: as a client, and as all the servers.
    pub fn with_hosts(self) -> anyhow::Result<Arena> {
        let (client, servers) = (&self.generator, &self.sink);
        client.ip(&format!("address add {CLIENT}/24 dev {GENERATOR}"))?;
        client.ip("route add default via 10.0.0.254")?;
        // No contestant answers for the VIP.
        client.ip(&format!(
            "neighbour replace {} lladdr {FRONT_MAC} dev {GENERATOR} nud permanent",
            Family::V4.vip()
        ))?;
        for server in Family::V4.servers() {
            servers.ip(&format!("address add {server}/24 dev {SINK}"))?;
        }
        servers.ip("route add default via 10.1.0.254")?;
        for host in [client, servers] {
            // So many connections that a port comes again long before TIME_WAIT is over.
            host.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
            host.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        }
        servers.sysctl("net/core/somaxconn", "4096")?;
        Ok(self)
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
