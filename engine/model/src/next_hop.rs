//! Where a packet leaves: interfaces, routes and neighbours as the kernel has them.
//!
//! The kernel's tables are copied here as a whole (`lb-netlink`), published to the workers, and never changed in
//! place. A replay fills them from its configuration.

use std::fmt;
use std::str::FromStr;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::Addr;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Mac, &'static str> {
        let mut mac = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|p| p.len() == 2);
            *byte = part
                .and_then(|p| u8::from_str_radix(p, 16).ok())
                .ok_or("allowed: six bytes, like 02:00:00:00:00:01")?;
        }
        if parts.next().is_some() {
            return Err("allowed: six bytes, like 02:00:00:00:00:01");
        }
        Ok(Mac(mac))
    }
}

/// An interface by its position in the configuration's `[engine] interfaces`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct InterfaceId(pub u16);

/// One of the engine's interfaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name, like `eth0`.
    pub name: String,
    /// Its own Ethernet address.
    pub mac: Mac,
    /// The largest IP packet it takes, in bytes.
    pub mtu: u32,
    /// The machine's addresses on it, those that packets of ours may come from, in the kernel's order.
    pub addresses: Vec<Addr>,
}

/// An address prefix, like `10.20.0.0/16`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: Addr,
    len: u8,
}

impl Prefix {
    /// The prefix of `addr` that is `len` bits long in the address's own family; longer than that is a host.
    pub fn new(addr: Addr, len: u8) -> Prefix {
        let len = len.min(addr.bits());
        Prefix {
            addr: addr.masked(len),
            len,
        }
    }

    /// Its first address.
    pub fn addr(&self) -> Addr {
        self.addr
    }

    /// How many bits it has, in the family of its addresses.
    pub fn bits(&self) -> u8 {
        self.len
    }

    /// Whether all of `other` lies within.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }

    /// Whether `addr` lies within.
    pub fn contains(&self, addr: Addr) -> bool {
        addr.is_v4() == self.addr.is_v4() && addr.masked(self.len) == self.addr
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Route {
    /// `None` for a route that the kernel has, but that leaves by an interface that is not ours or nowhere.
    egress: Option<InterfaceId>,
    /// `None`: on-link.
    gateway: Option<Addr>,
    /// The address that packets of ours come from, if the route says so.
    source: Option<Addr>,
}

/// What a frame needs to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The interface it leaves by.
    pub egress: InterfaceId,
    /// The frame's addresses.
    pub ends: FrameEnds,
    /// The largest IP packet that the interface takes, in bytes.
    pub mtu: u32,
}

/// A frame's addresses: the next hop's, and the interface's own. As they begin a frame, in one piece that is copied at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameEnds([u8; 12]);

impl FrameEnds {
    /// From `source` to `destination`.
    pub fn new(source: Mac, destination: Mac) -> FrameEnds {
        let mut octets = [0; 12];
        octets[..6].copy_from_slice(&destination.0);
        octets[6..].copy_from_slice(&source.0);
        FrameEnds(octets)
    }

    /// The next hop's address.
    pub fn destination(&self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.0;
        Mac([a, b, c, d, e, f])
    }

    /// The interface's address.
    pub fn source(&self) -> Mac {
        let [.., a, b, c, d, e, f] = self.0;
        Mac([a, b, c, d, e, f])
    }

    /// What a frame begins with.
    #[inline(always)]
    pub const fn octets(&self) -> &[u8; 12] {
        &self.0
    }
}

impl fmt::Debug for FrameEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.source(), self.destination())
    }
}

/// What is known about the way to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Send it so.
    Reachable(Hop),
    /// The way is known, the next hop's MAC is not: ask the kernel for it.
    Unresolved {
        /// The interface that leads there.
        egress: InterfaceId,
        /// The next hop: a gateway, or the address itself.
        next_hop: Addr,
    },
    /// No route, or one by an interface that is not ours.
    Unreachable,
}

/// Interfaces, routes and neighbours at one moment.
#[derive(Clone, Default)]
pub struct NextHops {
    interfaces: Vec<Interface>,
    /// One exact-match table per prefix length in use, the longest first: real routing tables use a handful.
    routes: Vec<(u8, bool, HashMap<Addr, Route, RandomState>)>,
    neighbours: HashMap<(InterfaceId, Addr), Mac, RandomState>,
    local: HashSet<Addr, RandomState>,
}

impl NextHops {
    /// No routes and no neighbours over these interfaces, in the configuration's order.
    pub fn new(interfaces: Vec<Interface>) -> NextHops {
        NextHops {
            interfaces,
            ..NextHops::default()
        }
    }

    /// The interfaces, in the configuration's order.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Adds or replaces the route to `prefix`. `egress` is `None` when it leaves by an interface that is not ours,
    /// or is a blackhole: addresses within are unreachable for us, whatever shorter prefixes say.
    pub fn set_route(
        &mut self,
        prefix: Prefix,
        egress: Option<InterfaceId>,
        gateway: Option<Addr>,
    ) {
        let route = Route {
            egress,
            gateway,
            source: None,
        };
        let key = (prefix.len, prefix.addr.is_v4());
        let at = match self
            .routes
            .binary_search_by(|(len, v4, _)| key.cmp(&(*len, *v4)))
        {
            Ok(at) => at,
            Err(at) => {
                self.routes.insert(at, (key.0, key.1, HashMap::default()));
                at
            }
        };
        self.routes[at].2.insert(prefix.addr, route);
    }

    /// Makes `source` the address that packets of ours come from when they take the route to `prefix`, which must
    /// have been [set](NextHops::set_route) before (`ip route ... src`).
    pub fn set_source(&mut self, prefix: Prefix, source: Addr) {
        let family = prefix.addr.is_v4();
        let route = self
            .routes
            .iter_mut()
            .find(|(len, v4, _)| (*len, *v4) == (prefix.len, family))
            .and_then(|(_, _, routes)| routes.get_mut(&prefix.addr));
        if let Some(route) = route {
            route.source = Some(source);
        }
    }

    /// Adds or replaces the MAC of `addr` on `interface`.
    pub fn set_neighbour(&mut self, interface: InterfaceId, addr: Addr, mac: Mac) {
        self.neighbours.insert((interface, addr), mac);
    }

    /// Forgets the MAC of `addr` on `interface`.
    pub fn remove_neighbour(&mut self, interface: InterfaceId, addr: Addr) {
        self.neighbours.remove(&(interface, addr));
    }

    /// Marks `addr` as one of this machine's own.
    pub fn set_local(&mut self, addr: Addr) {
        self.local.insert(addr);
    }

    /// Whether `addr` is one of this machine's own.
    pub fn is_local(&self, addr: Addr) -> bool {
        self.local.contains(&addr)
    }

    /// This machine's own addresses, in no particular order.
    pub fn locals(&self) -> impl Iterator<Item = Addr> + '_ {
        self.local.iter().copied()
    }

    /// The way to `addr`: longest prefix first, then the neighbour.
    pub fn resolve(&self, addr: Addr) -> Resolution {
        let Some(Route {
            egress: Some(egress),
            gateway,
            ..
        }) = self.route_to(addr)
        else {
            return Resolution::Unreachable;
        };
        let next_hop = gateway.unwrap_or(addr);
        let interface = self.interfaces.get(usize::from(egress.0));
        match (interface, self.neighbours.get(&(egress, next_hop))) {
            (Some(interface), Some(&destination)) => Resolution::Reachable(Hop {
                egress,
                ends: FrameEnds::new(interface.mac, destination),
                mtu: interface.mtu,
            }),
            (Some(_), None) => Resolution::Unresolved { egress, next_hop },
            (None, _) => Resolution::Unreachable,
        }
    }

    /// The address that a packet of ours to `addr` comes from: what the route prefers, or the route to its gateway,
    /// or else the address of the egress interface that has most bits in common with `addr`. `None`: no route, or no
    /// address of the family.
    pub fn source_for(&self, addr: Addr) -> Option<Addr> {
        let route = self.route_to(addr)?;
        let interface = self.interfaces.get(usize::from(route.egress?.0))?;
        let by_gateway = || self.route_to(route.gateway?)?.source;
        let preferred = route.source.or_else(by_gateway);
        preferred
            .filter(|source| source.is_v4() == addr.is_v4())
            .or_else(|| nearest(&interface.addresses, addr))
    }

    fn route_to(&self, addr: Addr) -> Option<Route> {
        let v4 = addr.is_v4();
        self.routes
            .iter()
            .filter(|(_, family_v4, _)| *family_v4 == v4)
            .find_map(|(len, _, routes)| routes.get(&addr.masked(*len)))
            .copied()
    }
}

/// RFC 6724 section 5, as far as it can matter between us and a server: the longest common prefix, and among equals
/// the first.
fn nearest(addresses: &[Addr], addr: Addr) -> Option<Addr> {
    let bits = |a: &Addr| u128::from_be_bytes(*a.octets());
    addresses
        .iter()
        .filter(|source| source.is_v4() == addr.is_v4())
        .min_by_key(|source| u128::BITS - (bits(source) ^ bits(&addr)).leading_zeros())
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InterfaceId = InterfaceId(0);
    const B: InterfaceId = InterfaceId(1);

    fn table() -> NextHops {
        let interface = |name: &str, last| Interface {
            name: name.into(),
            mac: Mac([2, 0, 0, 0, 0, last]),
            mtu: 1500,
            addresses: vec![Addr::v4([10, 0, 0, last]), Addr::v4([10, 1, 0, last])],
        };
        let mut hops = NextHops::new(vec![interface("a", 0xa), interface("b", 0xb)]);
        hops.set_route(
            Prefix::new(Addr::v4([0; 4]), 0),
            Some(A),
            Some(Addr::v4([10, 0, 0, 1])),
        );
        hops.set_route(Prefix::new(Addr::v4([10, 1, 0, 0]), 16), Some(B), None);
        hops.set_route(Prefix::new(Addr::v4([10, 1, 9, 0]), 24), None, None);
        hops.set_neighbour(A, Addr::v4([10, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 1]));
        hops
    }

    #[test]
    fn a_frame_begins_with_the_next_hops_address() {
        let (ours, theirs) = (Mac([2, 0, 0, 0, 0, 0xa]), Mac([2, 0, 0, 0, 0, 1]));
        let ends = FrameEnds::new(ours, theirs);
        assert_eq!((ends.source(), ends.destination()), (ours, theirs));
        assert_eq!(ends.octets(), &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xa]);
        assert_eq!(format!("{ends:?}"), "02:00:00:00:00:0a > 02:00:00:00:00:01");
    }

    #[test]
    fn the_longest_prefix_wins_and_a_gateway_stands_for_its_address() {
        let mut hops = table();
        assert_eq!(
            hops.resolve(Addr::v4([192, 0, 2, 1])),
            Resolution::Reachable(Hop {
                egress: A,
                ends: FrameEnds::new(Mac([2, 0, 0, 0, 0, 0xa]), Mac([2, 0, 0, 0, 0, 1])),
                mtu: 1500,
            })
        );
        let server = Addr::v4([10, 1, 0, 7]);
        assert_eq!(
            hops.resolve(server),
            Resolution::Unresolved {
                egress: B,
                next_hop: server
            }
        );
        hops.set_neighbour(B, server, Mac([2, 0, 0, 0, 0, 7]));
        assert!(matches!(
            hops.resolve(server),
            Resolution::Reachable(Hop { egress: B, .. })
        ));
        hops.remove_neighbour(B, server);
        assert!(matches!(
            hops.resolve(server),
            Resolution::Unresolved { .. }
        ));
    }

    #[test]
    fn the_source_is_what_the_route_prefers_or_the_nearest_address_of_the_interface() {
        let mut hops = table();
        let (server, beyond) = (Addr::v4([10, 1, 0, 7]), Addr::v4([192, 0, 2, 1]));
        assert_eq!(hops.source_for(server), Some(Addr::v4([10, 1, 0, 0xb])));
        assert_eq!(hops.source_for(Addr::v4([10, 1, 9, 1])), None, "no way");
        assert_eq!(hops.source_for(Addr::v6([1; 16])), None, "no way");

        let on_link = Prefix::new(Addr::v4([10, 0, 0, 0]), 24);
        hops.set_route(on_link, Some(A), None);
        hops.set_source(on_link, Addr::v4([10, 0, 0, 99]));
        assert_eq!(
            hops.source_for(beyond),
            Some(Addr::v4([10, 0, 0, 99])),
            "by the gateway's route"
        );
        hops.set_source(
            Prefix::new(Addr::UNSPECIFIED_V4, 0),
            Addr::v4([10, 9, 9, 9]),
        );
        assert_eq!(hops.source_for(beyond), Some(Addr::v4([10, 9, 9, 9])));
    }

    #[test]
    fn a_route_by_an_interface_that_is_not_ours_hides_the_default_route() {
        assert_eq!(
            table().resolve(Addr::v4([10, 1, 9, 1])),
            Resolution::Unreachable
        );
        assert_eq!(table().resolve(Addr::v6([1; 16])), Resolution::Unreachable);
    }

    #[test]
    fn a_mac_reads_as_it_prints() {
        assert_eq!(
            "02:00:00:00:00:d0".parse::<Mac>().map(|m| m.to_string()),
            Ok("02:00:00:00:00:d0".into())
        );
        for bad in [
            "02:00:00:00:00",
            "02:00:00:00:00:d0:11",
            "2:0:0:0:0:1",
            "02:00:00:00:00:zz",
            "",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
