//! A client, a balancer and servers, with IPv4 and IPv6 side by side.
//!
//! Who has which address is told in [`Family`]; the wirings differ in cables and in the servers' routes.
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
//! Routed, the servers behind a router from the balancer's point of view; the router's own way to the client is there
//! only where replies are to take it:
//!
//! ```text
//!           front                       between                       back
//!  client ──┤   ├── eth0 balancer eth1 ──┤   ├── eth2 router eth1 ──┤   ├── server-1
//!           │   │                                     eth0           │   ├── server-2
//!           │   ├────────────────────────────────────────┘           │   ├── server-3
//! ```
//!
//! `front`, `between` and `back` are bridges in namespaces of their own; every interface towards them is called `eth0`
//! (or `eth1`, `eth2`).
//!
//! Where the servers' replies go is [`Replies`]. Through the balancer, as NAT needs it: it is their default
//! gateway, or their gateway's, also on the shared segment of the one-armed lab, where it is the only way between the two
//! subnets. Directly, as DR, TUN and ENAT need it: by way of the router, in the one-armed lab over the segment
//! (the client's subnet is on-link for the servers); the servers then hold the service's addresses on their
//! loopback, without answering ARP for them. To an address of the balancer's, as FNAT needs it: the routes are those
//! of direct replies, and the servers know nothing of the service's address.

use super::addresses::{BALANCER_HOST, CLIENT_HOST, Net, ROUTER_HOST, server_host};
use super::link::{End, bridge, veth};
use super::{Error, Family, Namespace, server_name};

/// How many interfaces the balancer has, and what is between it and the servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// One, on the segment that client and servers share.
    OneArmed,
    /// `eth0` towards the client, `eth1` on the servers' segment.
    TwoArmed,
    /// `eth0` towards the client, `eth1` towards a router, the servers on another network behind that.
    Routed,
}

/// Which way the servers' replies take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replies {
    /// The balancer is on the servers' way to the client: NAT.
    ThroughBalancer,
    /// Past the balancer, from the service's address, which the servers hold too: DR, TUN, ENAT.
    Direct,
    /// To an address of the balancer, for that is where requests seem to come from: FNAT.
    ToBalancer,
}

/// What a lab shall look like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many interfaces the balancer has, and what is between it and the servers.
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
    /// The balancer's namespace: `eth0`, and `eth1` unless one-armed.
    pub balancer: Namespace,
    /// The servers' namespaces.
    pub servers: Vec<Namespace>,
    /// Router and switches.
    between: Between,
}

struct Between {
    router: Option<Namespace>,
    /// Kept for as long as the lab.
    switches: Vec<Namespace>,
}

impl Lab {
    /// Makes the lab.
    ///
    /// # Errors
    ///
    /// If the kernel refuses something; see [`skip_reason`](super::skip_reason).
    pub fn new(plan: Plan) -> Result<Lab, Error> {
        let names = (0..plan.servers).map(server_name);
        let mut lab = Lab {
            plan,
            client: Namespace::new("client")?,
            balancer: Namespace::new("balancer")?,
            servers: names
                .map(|name| Namespace::new(&name))
                .collect::<Result<_, _>>()?,
            between: Between {
                router: match plan.topology {
                    Topology::OneArmed => None,
                    Topology::TwoArmed | Topology::Routed => Some(Namespace::new("router")?),
                },
                switches: Vec::new(),
            },
        };
        lab.between.switches = lab.connect()?;
        lab.set_up_client()?;
        lab.set_up_balancer()?;
        lab.set_up_router()?;
        for (index, server) in lab.servers.iter().enumerate() {
            lab.set_up_server(server, index)?;
        }
        Ok(lab)
    }

    /// The balancer's interfaces.
    pub fn interfaces(&self) -> &'static [&'static str] {
        match self.plan.topology {
            Topology::OneArmed => &["eth0"],
            Topology::TwoArmed | Topology::Routed => &["eth0", "eth1"],
        }
    }

    /// The router, where there is one.
    pub fn router(&self) -> Option<&Namespace> {
        self.between.router.as_ref()
    }

    /// Has the router let nothing larger through to the servers.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn narrow(&self, mtu: usize) -> Result<(), Error> {
        for family in Family::BOTH {
            for index in 0..self.servers.len() {
                let (server, bits) = (family.server(index), family.host_bits());
                let route = format!("route add {server}/{bits} dev eth1 mtu {mtu}");
                if let Some(router) = self.router() {
                    router.ip(&route)?;
                }
            }
        }
        Ok(())
    }

    /// The switch that this interface of the balancer is plugged into.
    pub(super) fn switch_at(&self, interface: &str) -> &Namespace {
        let switches = &self.between.switches;
        let at = self.interfaces().iter().position(|name| *name == interface);
        at.and_then(|at| switches.get(at))
            .expect("the balancer has this interface, and each is plugged into a switch of its own")
    }

    /// Wires the hosts; returns the switches.
    fn connect(&self) -> Result<Vec<Namespace>, Error> {
        let queues = self.plan.queues;
        let mut front = vec![(&self.client, "eth0", 1), (&self.balancer, "eth0", queues)];
        let mut between = Vec::new();
        let mut back: Vec<Socket<'_>> = self.servers.iter().map(|s| (s, "eth0", 1)).collect();
        match (self.plan.topology, self.router()) {
            (Topology::TwoArmed, Some(router)) => {
                front.push((router, "eth0", 1));
                back.extend([(&self.balancer, "eth1", queues), (router, "eth1", 1)]);
            }
            (Topology::Routed, Some(router)) => {
                if self.router_knows_clients() {
                    front.push((router, "eth0", 1));
                }
                between.extend([(&self.balancer, "eth1", queues), (router, "eth2", 1)]);
                back.push((router, "eth1", 1));
            }
            _ => front.append(&mut back),
        }
        let segments = [("front", front), ("between", between), ("back", back)];
        let used = segments.iter().filter(|(_, hosts)| !hosts.is_empty());
        used.map(|(name, hosts)| segment(name, hosts)).collect()
    }

    /// Whether the router has a leg of its own on the client's side.
    fn router_knows_clients(&self) -> bool {
        self.plan.topology == Topology::TwoArmed || self.plan.replies != Replies::ThroughBalancer
    }

    fn set_up_client(&self) -> Result<(), Error> {
        for family in Family::BOTH {
            let client = family.interface_address(Net::Clients, CLIENT_HOST);
            add_address(&self.client, &client, "eth0")?;
            let balancer = family.balancer();
            self.client
                .ip(&format!("route add default via {balancer}"))?;
        }
        Ok(())
    }

    fn set_up_balancer(&self) -> Result<(), Error> {
        let arms = self.interfaces();
        let back = arms.last().expect("every balancer has an interface");
        let net = self.plan.topology.back();
        forward(&self.balancer)?;
        for family in Family::BOTH {
            let addresses = [(Net::Clients, "eth0"), (net, *back)];
            for (net, interface) in addresses {
                let address = family.interface_address(net, BALANCER_HOST);
                add_address(&self.balancer, &address, interface)?;
            }
            if net == Net::Between {
                let servers = family.network(Net::Servers);
                let router = family.host(net, ROUTER_HOST);
                self.balancer
                    .ip(&format!("route add {servers} via {router}"))?;
            }
        }
        Ok(())
    }

    fn set_up_router(&self) -> Result<(), Error> {
        let Some(router) = self.router() else {
            return Ok(());
        };
        forward(router)?;
        for family in Family::BOTH {
            let mut legs = vec![(Net::Servers, "eth1")];
            if self.router_knows_clients() {
                legs.push((Net::Clients, "eth0"));
            }
            if self.plan.topology == Topology::Routed {
                legs.push((Net::Between, "eth2"));
            }
            for (net, interface) in legs {
                let address = family.interface_address(net, ROUTER_HOST);
                add_address(router, &address, interface)?;
            }
            if !self.router_knows_clients() {
                let balancer = family.balancer_back(self.plan.topology);
                router.ip(&format!("route add default via {balancer}"))?;
            }
        }
        Ok(())
    }

    fn set_up_server(&self, server: &Namespace, index: usize) -> Result<(), Error> {
        let direct = self.plan.replies == Replies::Direct;
        if direct {
            server.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
            server.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
        }
        for family in Family::BOTH {
            let address = family.interface_address(Net::Servers, server_host(index));
            add_address(server, &address, "eth0")?;
            let router = family.host(Net::Servers, ROUTER_HOST);
            match (self.plan.topology, self.plan.replies) {
                (Topology::Routed, _)
                | (Topology::TwoArmed, Replies::Direct | Replies::ToBalancer) => {
                    server.ip(&format!("route add default via {router}"))?
                }
                (_, Replies::ThroughBalancer) => {
                    let balancer = family.host(Net::Servers, BALANCER_HOST);
                    server.ip(&format!("route add default via {balancer}"))?
                }
                (Topology::OneArmed, _) => {
                    let clients = family.network(Net::Clients);
                    server.ip(&format!("route add {clients} dev eth0"))?
                }
            };
            if direct {
                let (vip, bits) = (family.vip(), family.host_bits());
                add_address(server, &format!("{vip}/{bits}"), "lo")?;
            }
        }
        Ok(())
    }
}

/// Gives a host an address that it may use at once: even where it does not ask whether anybody else has it, an IPv6 address
/// is tentative until the kernel has time to see to that, and a server that binds to it meanwhile fails.
fn add_address(host: &Namespace, address: &str, interface: &str) -> Result<(), Error> {
    let flags = if address.contains(':') { " nodad" } else { "" };
    host.ip(&format!("address add {address} dev {interface}{flags}"))?;
    Ok(())
}

/// Makes a host forward what is for others.
fn forward(host: &Namespace) -> Result<(), Error> {
    host.sysctl("net/ipv4/ip_forward", "1")?;
    host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    Ok(())
}

/// A host, and the name and the queues of one of its interfaces.
type Socket<'a> = (&'a Namespace, &'a str, u32);

/// Plugs hosts into a bridge in a namespace named `name`, and returns that.
fn segment(name: &str, hosts: &[Socket<'_>]) -> Result<Namespace, Error> {
    let switch = Namespace::new(name)?;
    let ports: Vec<String> = hosts.iter().map(|(host, ..)| port_name(host)).collect();
    for ((host, interface, queues), port) in hosts.iter().zip(&ports) {
        veth(End::new(host, interface), End::new(&switch, port), *queues)?;
    }
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    bridge(&switch, "bridge", &ports)?;
    Ok(switch)
}

/// What a switch calls its port towards a host; an interface name has at most 15 letters.
fn port_name(host: &Namespace) -> String {
    format!("to-{}", host.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{
        BALANCER, HttpTally, LineServer, Scratch, SinkServer, UdpServer, WebServer, available,
        ping, server_address, sha256, tcp_exchange, udp_requests,
    };

    const EVERY_TOPOLOGY: [Topology; 3] =
        [Topology::OneArmed, Topology::TwoArmed, Topology::Routed];

    #[test]
    fn every_wiring_carries_requests_to_every_server_and_replies_back() {
        if !available() {
            return;
        }
        for topology in EVERY_TOPOLOGY {
            for replies in [
                Replies::ThroughBalancer,
                Replies::Direct,
                Replies::ToBalancer,
            ] {
                let lab = Lab::new(Plan::new(topology, replies)).expect("a lab");
                let scratch = Scratch::new().expect("a folder");
                for (index, server) in lab.servers.iter().enumerate() {
                    let name = server_name(index);
                    let _web = WebServer::start(server, &name, 80, &scratch).expect("nginx");
                    for family in Family::BOTH {
                        let address = (family.server(index), 80).into();
                        let tally = HttpTally::collect(&lab.client, address, 10).expect("curl");
                        assert_eq!(
                            tally.answers.get(&name),
                            Some(&10),
                            "{topology:?} {replies:?} {tally:?}"
                        );
                        assert_eq!((tally.failures, tally.connections), (0, 10), "{tally:?}");
                    }
                }
                for family in Family::BOTH {
                    let answered = ping(&lab.client, family.balancer(), 1).expect("ping");
                    assert_eq!(answered, 1, "{topology:?} {replies:?} {family}");
                }
            }
        }
    }

    /// What DR needs of the wiring: a packet that the balancer's kernel would send on to a server's MAC
    /// address comes back to the client from the service's address. A route on the balancer plays the balancer; behind
    /// a router it takes another one there.
    #[test]
    fn servers_with_direct_replies_answer_from_the_service_address_past_the_balancer() {
        if !available() {
            return;
        }
        for topology in EVERY_TOPOLOGY {
            let lab = Lab::new(Plan::new(topology, Replies::Direct)).expect("a lab");
            for family in Family::BOTH {
                let (vip, server) = (family.vip(), family.server(1));
                let mut hops = vec![(&lab.balancer, server), (&lab.client, family.balancer())];
                if let (Topology::Routed, Some(router)) = (topology, lab.router()) {
                    hops[0].1 = family.host(Net::Between, ROUTER_HOST);
                    hops.push((router, server));
                }
                // The client asks the balancer by its own address, for nobody answers ARP for the service here.
                for (host, next) in hops {
                    let route = format!("route add {vip}/{} via {next}", family.host_bits());
                    host.ip(&route).expect("a route");
                }
                let name = server_name(1);
                let _udp =
                    UdpServer::start(&lab.servers[1], &name, (vip, 53).into()).expect("a server");
                let tally = udp_requests(&lab.client, (vip, 53).into(), 10).expect("sockets");
                assert_eq!(
                    tally.answers.get(&name),
                    Some(&10),
                    "{topology:?} {tally:?}"
                );
            }
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
        let digest = SinkServer::upload(&lab.client, server, &mut &content[..]).expect("an upload");
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
