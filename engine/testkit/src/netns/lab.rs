//! A client, a balancer and servers.
//!
//! The addresses are the same in every wiring; only the cables and the servers' routes differ.
//!
//! | who | client side, 10.0.0.0/24 | server side, 10.1.0.0/24 |
//! | --- | --- | --- |
//! | client | 10.0.0.1 | |
//! | balancer | 10.0.0.254 | 10.1.0.254 |
//! | router | 10.0.0.253 | 10.1.0.253 |
//! | server-1, server-2, … | | 10.1.0.11, 10.1.0.12, … |
//! | virtual services | 10.0.0.100 | |
//!
//! Two-armed:
//!
//! ```text
//!           front                                   back
//!  client ──┤   ├── eth0  balancer  eth1 ──┤   ├── server-1
//!           │   │                          │   ├── server-2
//!           │   ├── eth0   router   eth1 ──┤   ├── server-3
//! ```
//!
//! One-armed, everything on one segment, the balancer with both its addresses on one interface:
//!
//! ```text
//!           front
//!  client ──┤   ├── server-1
//!           │   ├── server-2
//! balancer ─┤   ├── server-3
//!  (eth0)
//! ```
//!
//! `front` and `back` are bridges in namespaces of their own; every interface towards them is called `eth0`
//! (or `eth1`, the second one).
//!
//! Where the servers' replies go is [`Replies`]. Through the balancer, as NAT needs it: it is their default
//! gateway, also on the shared segment of the one-armed lab, where it is the only way between the two subnets.
//! Directly, as DR needs it: in the two-armed lab by way of the router, in the one-armed lab over the segment
//! (the client's subnet is on-link for the servers); the servers then hold the service's address on their
//! loopback, without answering ARP for it.

use std::net::Ipv4Addr;

use super::link::{End, bridge, veth};
use super::{Error, Namespace};

/// The client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The balancer, towards the client.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
/// The balancer, towards the servers.
pub const BALANCER_BACK: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);
/// The virtual services.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 253);
const ROUTER_BACK: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 253);
const CLIENT_SIDE: &str = "10.0.0.0/24";

/// How many interfaces the balancer has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// One, on the segment that client and servers share.
    OneArmed,
    /// `eth0` towards the client, `eth1` towards the servers.
    TwoArmed,
}

/// Which way the servers' replies take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replies {
    /// The balancer is the servers' gateway: NAT.
    ThroughBalancer,
    /// Past the balancer, from the service's address, which the servers hold too: DR.
    Direct,
}

/// What a lab shall look like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many interfaces the balancer has.
    pub topology: Topology,
    /// Which way the servers' replies take.
    pub replies: Replies,
    /// How many servers there are.
    pub servers: usize,
    /// Receive and transmit queues of the balancer's interfaces.
    pub queues: u32,
}

impl Plan {
    /// Three servers, one queue.
    pub fn new(topology: Topology, replies: Replies) -> Plan {
        Plan {
            topology,
            replies,
            servers: 3,
            queues: 1,
        }
    }
}

/// Client, balancer and servers, wired, addressed and with routes; nothing runs in them yet.
pub struct Lab {
    /// What it was made after.
    pub plan: Plan,
    /// The client's namespace.
    pub client: Namespace,
    /// The balancer's namespace: `eth0`, and `eth1` if two-armed.
    pub balancer: Namespace,
    /// The servers' namespaces.
    pub servers: Vec<Namespace>,
    /// Bridges and router, kept for as long as the lab.
    _between: Vec<Namespace>,
}

/// The address of server `index`, counted from 0.
pub fn server_address(index: usize) -> Ipv4Addr {
    let last = u8::try_from(11 + index).expect("a lab has a handful of servers");
    Ipv4Addr::new(10, 1, 0, last)
}

/// The name of server `index`, counted from 0, with which it answers: `server-1`, `server-2`, …
pub fn server_name(index: usize) -> String {
    format!("server-{}", index + 1)
}

impl Lab {
    /// Makes the lab.
    ///
    /// # Errors
    ///
    /// If the kernel refuses something; see [`skip_reason`](super::skip_reason).
    pub fn new(plan: Plan) -> Result<Lab, Error> {
        let names = (0..plan.servers).map(server_name);
        let lab = Lab {
            plan,
            client: Namespace::new("client")?,
            balancer: Namespace::new("balancer")?,
            servers: names
                .map(|name| Namespace::new(&name))
                .collect::<Result<_, _>>()?,
            _between: match plan.topology {
                Topology::OneArmed => vec![Namespace::new("front")?],
                Topology::TwoArmed => {
                    vec![
                        Namespace::new("front")?,
                        Namespace::new("back")?,
                        Namespace::new("router")?,
                    ]
                }
            },
        };
        lab.connect()?;
        lab.set_up_client()?;
        lab.set_up_balancer()?;
        for (index, server) in lab.servers.iter().enumerate() {
            lab.set_up_server(server, index)?;
        }
        Ok(lab)
    }

    /// The balancer's interfaces.
    pub fn interfaces(&self) -> &'static [&'static str] {
        match self.plan.topology {
            Topology::OneArmed => &["eth0"],
            Topology::TwoArmed => &["eth0", "eth1"],
        }
    }

    fn connect(&self) -> Result<(), Error> {
        match (self.plan.topology, &self._between[..]) {
            (Topology::OneArmed, [front, ..]) => {
                let mut hosts = vec![
                    (&self.client, "eth0", 1),
                    (&self.balancer, "eth0", self.plan.queues),
                ];
                hosts.extend(self.servers.iter().map(|server| (server, "eth0", 1)));
                segment(front, &hosts)
            }
            (Topology::TwoArmed, [front, back, router]) => {
                let queues = self.plan.queues;
                let clients = [
                    (&self.client, "eth0", 1),
                    (&self.balancer, "eth0", queues),
                    (router, "eth0", 1),
                ];
                segment(front, &clients)?;
                let mut servers = vec![(&self.balancer, "eth1", queues), (router, "eth1", 1)];
                servers.extend(self.servers.iter().map(|server| (server, "eth0", 1)));
                segment(back, &servers)?;
                router.sysctl("net/ipv4/ip_forward", "1")?;
                router.ip(&format!("address add {ROUTER}/24 dev eth0"))?;
                router.ip(&format!("address add {ROUTER_BACK}/24 dev eth1"))?;
                Ok(())
            }
            _ => unreachable!("`new` made what the topology needs"),
        }
    }

    fn set_up_client(&self) -> Result<(), Error> {
        self.client
            .ip(&format!("address add {CLIENT}/24 dev eth0"))?;
        self.client
            .ip(&format!("route add default via {BALANCER}"))?;
        Ok(())
    }

    fn set_up_balancer(&self) -> Result<(), Error> {
        let back = self
            .interfaces()
            .last()
            .expect("every balancer has an interface");
        self.balancer
            .ip(&format!("address add {BALANCER}/24 dev eth0"))?;
        self.balancer
            .ip(&format!("address add {BALANCER_BACK}/24 dev {back}"))?;
        self.balancer.sysctl("net/ipv4/ip_forward", "1")?;
        // On one arm everything forwarded leaves where it came from, and the kernel would tell the servers to
        // talk to the client themselves.
        for scope in ["all", "default", "eth0"] {
            self.balancer
                .sysctl(&format!("net/ipv4/conf/{scope}/send_redirects"), "0")?;
        }
        Ok(())
    }

    fn set_up_server(&self, server: &Namespace, index: usize) -> Result<(), Error> {
        server.ip(&format!(
            "address add {}/24 dev eth0",
            server_address(index)
        ))?;
        match (self.plan.replies, self.plan.topology) {
            (Replies::ThroughBalancer, _) => {
                server.ip(&format!("route add default via {BALANCER_BACK}"))?
            }
            (Replies::Direct, Topology::TwoArmed) => {
                server.ip(&format!("route add default via {ROUTER_BACK}"))?
            }
            (Replies::Direct, Topology::OneArmed) => {
                server.ip(&format!("route add {CLIENT_SIDE} dev eth0"))?
            }
        };
        if self.plan.replies == Replies::Direct {
            server.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
            server.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
            server.ip(&format!("address add {VIP}/32 dev lo"))?;
        }
        Ok(())
    }
}

/// Plugs hosts, each with the name and the queues of its interface, into a bridge in `switch`.
fn segment(switch: &Namespace, hosts: &[(&Namespace, &str, u32)]) -> Result<(), Error> {
    let ports: Vec<String> = hosts.iter().map(|(host, ..)| port_name(host)).collect();
    for ((host, interface, queues), port) in hosts.iter().zip(&ports) {
        veth(End::new(host, interface), End::new(switch, port), *queues)?;
    }
    bridge(
        switch,
        "bridge",
        &ports.iter().map(String::as_str).collect::<Vec<_>>(),
    )
}

/// What a switch calls its port towards a host; an interface name has at most 15 letters.
fn port_name(host: &Namespace) -> String {
    format!("to-{}", host.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{
        HttpTally, LineServer, Scratch, SinkServer, UdpServer, WebServer, available, ping, sha256,
        tcp_exchange, udp_requests,
    };

    const EVERY: [(Topology, Replies); 4] = [
        (Topology::OneArmed, Replies::ThroughBalancer),
        (Topology::OneArmed, Replies::Direct),
        (Topology::TwoArmed, Replies::ThroughBalancer),
        (Topology::TwoArmed, Replies::Direct),
    ];

    #[test]
    fn every_wiring_carries_requests_to_every_server_and_replies_back() {
        if !available() {
            return;
        }
        for (topology, replies) in EVERY {
            let lab = Lab::new(Plan::new(topology, replies)).expect("a lab");
            let scratch = Scratch::new().expect("a folder");
            for (index, server) in lab.servers.iter().enumerate() {
                let name = server_name(index);
                let _web = WebServer::start(server, &name, 80, &scratch).expect("nginx");
                let tally = HttpTally::collect(&lab.client, (server_address(index), 80).into(), 20)
                    .expect("curl");
                assert_eq!(
                    tally.answers[&name], 20,
                    "{topology:?} {replies:?} {tally:?}"
                );
                assert_eq!((tally.failures, tally.connections), (0, 20), "{tally:?}");
            }
            assert_eq!(ping(&lab.client, BALANCER, 3).expect("ping"), 3);
        }
    }

    /// What DR needs of the wiring: a packet that the balancer's kernel would send on to a server's MAC
    /// address comes back to the client from the service's address. A route on the balancer plays the balancer.
    #[test]
    fn servers_with_direct_replies_answer_from_the_service_address_past_the_balancer() {
        if !available() {
            return;
        }
        for topology in [Topology::OneArmed, Topology::TwoArmed] {
            let lab = Lab::new(Plan::new(topology, Replies::Direct)).expect("a lab");
            lab.balancer
                .ip(&format!("route add {VIP} via {}", server_address(1)))
                .expect("a route");
            // The client asks the balancer by its own address, for nobody answers ARP for the service here.
            lab.client
                .ip(&format!("route add {VIP} via {BALANCER}"))
                .expect("a route");
            let name = server_name(1);
            let _udp =
                UdpServer::start(&lab.servers[1], &name, (VIP, 53).into()).expect("a server");
            let tally = udp_requests(&lab.client, (VIP, 53).into(), 10).expect("sockets");
            assert_eq!(
                tally.answers.get(&name),
                Some(&10),
                "{topology:?} {tally:?}"
            );
        }
    }

    #[test]
    fn thread_servers_serve_over_real_sockets() {
        if !available() {
            return;
        }
        let lab = Lab::new(Plan::new(Topology::TwoArmed, Replies::ThroughBalancer)).expect("a lab");
        let _lines = LineServer::start(&lab.balancer, (BALANCER, 22).into()).expect("a server");
        tcp_exchange(&lab.client, (BALANCER, 22).into(), 50).expect("a session");
        let server = (server_address(0), 9000).into();
        let _sink = SinkServer::start(&lab.servers[0], server).expect("a server");
        let content = [7; 1_000_000];
        let digest = SinkServer::upload(&lab.client, server, &content).expect("an upload");
        assert_eq!(digest, sha256(&mut &content[..]).expect("a digest"));
        assert_eq!(digest.len(), 64);
    }

    #[test]
    fn an_address_that_nobody_serves_counts_as_failures() {
        if !available() {
            return;
        }
        let lab = Lab::new(Plan::new(Topology::TwoArmed, Replies::ThroughBalancer)).expect("a lab");
        let server = (server_address(2), 80).into();
        let tally = HttpTally::collect(&lab.client, server, 5).expect("curl");
        assert_eq!((tally.failures, tally.answers.len()), (5, 0), "{tally:?}");
        let tally = udp_requests(&lab.client, (server_address(2), 53).into(), 3).expect("sockets");
        assert_eq!((tally.failures, tally.answers.len()), (3, 0), "{tally:?}");
    }
}
