//! Who is where in a [`Lab`](super::Lab): the same in every wiring and in both address families.
//!
//! | who | client side | server side | between balancer and router |
//! | --- | --- | --- | --- |
//! | client | 10.0.0.1, 2001:db8::1 | | |
//! | balancer | 10.0.0.254, 2001:db8::fe | 10.1.0.254, 2001:db8:1::fe | 10.2.0.254, 2001:db8:2::fe |
//! | its local addresses | | 10.1.0.201, 2001:db8:1::c9 | 10.2.0.201, 2001:db8:2::c9 |
//! | router | 10.0.0.253, 2001:db8::fd | 10.1.0.253, 2001:db8:1::fd | 10.2.0.253, 2001:db8:2::fd |
//! | server-1, server-2, … | | 10.1.0.11, 2001:db8:1::b, … | |
//! | virtual services | 10.0.0.100, 2001:db8::64 | | |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Topology;

/// The client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The balancer, towards the client.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
/// The balancer, towards the servers.
pub const BALANCER_BACK: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);
/// The virtual services.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// The address of server `index`, counted from 0.
pub fn server_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, server_host(index))
}

/// The name of server `index`, counted from 0, with which it answers: `server-1`, `server-2`, …
pub fn server_name(index: usize) -> String {
    format!("server-{}", index + 1)
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One of the lab's networks, by its number in addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Net {
    Clients = 0,
    Servers = 1,
    Between = 2,
}

pub(super) const CLIENT_HOST: u8 = 1;
pub(super) const ROUTER_HOST: u8 = 253;
pub(super) const BALANCER_HOST: u8 = 254;
const VIP_HOST: u8 = 100;
const LOCAL_HOST: u8 = 201;

pub(super) fn server_host(index: usize) -> u8 {
    u8::try_from(11 + index).expect("a lab has a handful of servers")
}

impl Family {
    /// Both.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The client.
    pub fn client(self) -> IpAddr {
        self.host(Net::Clients, CLIENT_HOST)
    }

    /// The balancer, towards the client.
    pub fn balancer(self) -> IpAddr {
        self.host(Net::Clients, BALANCER_HOST)
    }

    /// The virtual services.
    pub fn vip(self) -> IpAddr {
        self.host(Net::Clients, VIP_HOST)
    }

    /// Server `index`, counted from 0.
    pub fn server(self, index: usize) -> IpAddr {
        self.host(Net::Servers, server_host(index))
    }

    /// The balancer, towards the servers.
    pub fn balancer_back(self, topology: Topology) -> IpAddr {
        self.host(topology.back(), BALANCER_HOST)
    }

    /// An address that the balancer may take as its own towards the servers, as FNAT needs one.
    pub fn local_address(self, topology: Topology) -> IpAddr {
        self.host(topology.back(), LOCAL_HOST)
    }

    pub(super) fn host(self, net: Net, host: u8) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(10, net as u8, 0, host).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, net as u16, 0, 0, 0, 0, host.into()).into(),
        }
    }

    /// `host` on `net` as `ip address` takes it.
    pub(super) fn interface_address(self, net: Net, host: u8) -> String {
        format!("{}/{}", self.host(net, host), self.network_bits())
    }

    /// `net` as `ip route` takes it.
    pub(super) fn network(self, net: Net) -> String {
        format!("{}/{}", self.host(net, 0), self.network_bits())
    }

    fn network_bits(self) -> u8 {
        match self {
            Family::V4 => 24,
            Family::V6 => 64,
        }
    }

    /// How long the prefix of a single host is.
    pub fn host_bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

impl Topology {
    /// The network between the balancer and its servers, or its router to them.
    pub(super) fn back(self) -> Net {
        match self {
            Topology::OneArmed | Topology::TwoArmed => Net::Servers,
            Topology::Routed => Net::Between,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_agree_with_the_names_of_ipv4() {
        let topology = Topology::TwoArmed;
        let v4 = Family::V4;
        assert_eq!(v4.client(), CLIENT);
        assert_eq!(v4.balancer(), BALANCER);
        assert_eq!(v4.balancer_back(topology), BALANCER_BACK);
        assert_eq!(v4.vip(), VIP);
        assert_eq!(v4.server(2), server_address(2));
        assert_eq!(Family::V6.server(0).to_string(), "2001:db8:1::b");
        assert_eq!(Family::V6.network(Net::Between), "2001:db8:2::/64");
    }
}
