//! Our copy of the kernel's tables, and the next hops made of it.
//!
//! Links and routes are always taken over as a whole. The kernel does not announce every route that goes: those
//! of an interface that is set down, or whose source address is removed, vanish without a word.

use ahash::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use lb_model::{Addr, Interface, InterfaceId, Mac, NextHops, Prefix, Resolution};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::NetlinkError;
use crate::neighbour::Neighbour;
use crate::route::{KernelRoute, Leads};

/// One reading of all tables.
pub(crate) struct Tables {
    pub links: Vec<Link>,
    /// Addresses that packets of ours may come from, each with its interface's index.
    pub sources: Vec<(u32, Addr)>,
    pub routes: Vec<KernelRoute>,
    pub neighbours: Vec<(u32, Addr, Neighbour)>,
}

/// A link as the kernel tells it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    index: u32,
    interface: Interface,
    health: Health,
}

impl Link {
    /// The link in `message`; `None` for what is said about it as a bridge's port.
    pub fn read(message: &LinkMessage) -> Option<Link> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let mut interface = Interface {
            name: String::new(),
            mac: Mac::default(),
            mtu: 0,
            addresses: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::Address(bytes) => {
                    interface.mac =
                        <[u8; 6]>::try_from(bytes.as_slice()).map_or(Mac::default(), Mac);
                }
                _ => {}
            }
        }
        let health = if message.header.flags.contains(LinkFlags::Up) {
            Health::Up
        } else {
            Health::Down
        };
        Some(Link {
            index: message.header.index,
            interface,
            health,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    Up,
    Down,
    Gone,
}

/// What the kernel knows, as far as our interfaces are concerned.
pub(crate) struct Mirror {
    /// Ours, in the configuration's order. They are known by the kernel's index: a renamed interface is the same
    /// one, a new interface of the same name is not, as no socket of ours is bound to it.
    links: Vec<Link>,
    /// Links, routes and local addresses without any neighbour.
    ways: NextHops,
    neighbours: HashMap<(InterfaceId, Addr), Neighbour, RandomState>,
}

impl Mirror {
    /// A copy of `tables` for the interfaces of these names.
    pub fn new(names: &[String], tables: Tables) -> Result<Mirror, NetlinkError> {
        let named = |name: &String| {
            let found = tables.links.iter().find(|l| l.interface.name == *name);
            found.cloned().ok_or_else(|| NetlinkError::NoSuchInterface {
                name: name.clone(),
                existing: tables
                    .links
                    .iter()
                    .map(|l| l.interface.name.clone())
                    .collect(),
            })
        };
        let mut mirror = Mirror {
            links: names.iter().map(named).collect::<Result<_, _>>()?,
            ways: NextHops::default(),
            neighbours: HashMap::default(),
        };
        for link in &mirror.links {
            link.warn_unless_up();
        }
        mirror.load(tables);
        Ok(mirror)
    }

    /// Takes over a new reading.
    pub fn load(&mut self, tables: Tables) {
        for ours in &mut self.links {
            let before = ours.health;
            match tables.links.iter().find(|l| l.index == ours.index) {
                Some(link) => ours.clone_from(link),
                None => ours.health = Health::Gone,
            }
            let sources = tables.sources.iter();
            ours.interface.addresses = sources
                .filter(|(index, _)| *index == ours.index)
                .map(|(_, addr)| *addr)
                .collect();
            if ours.health != before {
                ours.warn_unless_up();
            }
        }
        self.ways = self.ways_by(tables.routes);
        self.neighbours.clear();
        for (index, addr, neighbour) in tables.neighbours {
            self.set_neighbour(index, addr, Some(neighbour));
        }
    }

    /// Notes what became of a neighbour; `None`: the kernel forgot it. True if our packets now go another way.
    pub fn set_neighbour(&mut self, index: u32, addr: Addr, now: Option<Neighbour>) -> bool {
        let Some(id) = self.id(index) else {
            return false;
        };
        let before = match now {
            Some(neighbour) => self.neighbours.insert((id, addr), neighbour),
            None => self.neighbours.remove(&(id, addr)),
        };
        before.and_then(|n| n.usable()) != now.and_then(|n| n.usable())
    }

    /// All of it as the workers need it.
    pub fn next_hops(&self) -> NextHops {
        let mut hops = self.ways.clone();
        for (&(id, addr), neighbour) in &self.neighbours {
            if let Some(mac) = neighbour.usable() {
                hops.set_neighbour(id, addr, mac);
            }
        }
        hops
    }

    /// The neighbour by which packets to `addr` go, whether its MAC is known or not.
    pub fn way_to(&self, addr: Addr) -> Option<(InterfaceId, Addr)> {
        match self.ways.resolve(addr) {
            Resolution::Unresolved { egress, next_hop } => Some((egress, next_hop)),
            _ => None,
        }
    }

    /// Whether the kernel should be asked about the neighbour, and the index by which it knows the interface.
    pub fn asks_about(&self, id: InterfaceId, addr: Addr) -> Option<u32> {
        let link = self.links.get(usize::from(id.0))?;
        let known = self.neighbours.get(&(id, addr));
        known
            .is_none_or(Neighbour::wants_asking)
            .then_some(link.index)
    }

    fn id(&self, index: u32) -> Option<InterfaceId> {
        let at = self.links.iter().position(|l| l.index == index)?;
        u16::try_from(at).ok().map(InterfaceId)
    }

    fn ways_by(&self, routes: Vec<KernelRoute>) -> NextHops {
        let interfaces = self.links.iter().map(|l| l.interface.clone()).collect();
        let mut ways = NextHops::new(interfaces);
        let mut best: HashMap<Prefix, KernelRoute, RandomState> = HashMap::default();
        for route in routes {
            if let Some(addr) = route.local_address() {
                ways.set_local(addr);
            }
            match best.entry(route.prefix) {
                Entry::Vacant(entry) => drop(entry.insert(route)),
                Entry::Occupied(mut entry) => {
                    if route.preference(entry.get()).is_lt() {
                        entry.insert(route);
                    }
                }
            }
        }
        for (prefix, route) in best {
            let by_ours = match route.leads {
                Leads::Out(paths) => paths
                    .iter()
                    .find_map(|path| Some((self.id(path.index)?, path.gateway))),
                Leads::Here | Leads::Nowhere => None,
            };
            ways.set_route(
                prefix,
                by_ours.map(|(egress, _)| egress),
                by_ours.and_then(|(_, gateway)| gateway),
            );
            if let Some(source) = route.source {
                ways.set_source(prefix, source);
            }
        }
        ways
    }
}

impl Link {
    fn warn_unless_up(&self) {
        let name = &self.interface.name;
        match self.health {
            Health::Up => tracing::info!("interface {name} is up"),
            Health::Down => tracing::warn!("interface {name} is down: nothing leaves by it"),
            Health::Gone => tracing::warn!(
                "interface {name} is gone: nothing leaves by it until a restart, even if it comes back"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::neighbour::NeighbourState;
    use rtnetlink::packet_route::route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteType,
    };

    use super::*;
    use crate::{neighbour, route};

    const A: u32 = 3;
    const FOREIGN: u32 = 4;
    const B: u32 = 7;

    fn link(index: u32, name: &str) -> Link {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, index as u8]),
            LinkAttribute::Mtu(1500),
        ];
        Link::read(&message).expect("a link")
    }

    fn tables(routes: &[RouteMessage]) -> Tables {
        Tables {
            links: vec![
                link(1, "lo"),
                link(A, "a"),
                link(FOREIGN, "f"),
                link(B, "b"),
            ],
            sources: vec![(A, addr("10.0.0.3")), (B, addr("10.0.0.7"))],
            routes: routes.iter().filter_map(KernelRoute::read).collect(),
            neighbours: Vec::new(),
        }
    }

    fn mirror(routes: &[RouteMessage]) -> Mirror {
        Mirror::new(&["b".into(), "a".into()], tables(routes)).expect("both exist")
    }

    fn by(prefix: &str, index: u32, metric: u32) -> RouteMessage {
        let attributes = vec![RouteAttribute::Oif(index), RouteAttribute::Priority(metric)];
        route::tests::message(prefix, attributes)
    }

    fn addr(text: &str) -> Addr {
        text.parse::<std::net::IpAddr>().expect("an address").into()
    }

    fn addr_of(text: &str) -> RouteAddress {
        text.parse::<std::net::IpAddr>().expect("an address").into()
    }

    fn way(mirror: &Mirror, to: &str) -> Option<(u16, String)> {
        let (id, next_hop) = mirror.way_to(addr(to))?;
        Some((id.0, next_hop.to_string()))
    }

    #[test]
    fn interfaces_are_numbered_as_configured_and_a_missing_one_is_named() {
        assert_eq!(mirror(&[]).next_hops().interfaces()[0].name, "b");
        let error = Mirror::new(&["eth9".into()], tables(&[]))
            .err()
            .expect("missing");
        assert_eq!(
            error.to_string(),
            "interface eth9 does not exist; there are: lo, a, f, b"
        );
    }

    #[test]
    fn the_lowest_metric_wins_and_among_equals_the_first() {
        let routes = [
            by("10.0.0.0/8", B, 200),
            by("10.0.0.0/8", A, 100),
            by("10.0.0.0/8", B, 100),
        ];
        assert_eq!(
            way(&mirror(&routes), "10.1.2.3"),
            Some((1, "10.1.2.3".into()))
        );
    }

    #[test]
    fn the_local_table_wins_over_a_better_metric_in_main() {
        let mut local = by("10.0.0.5/32", 1, 500);
        local.header.table = 255;
        local.header.kind = RouteType::Local;
        let mirror = mirror(&[by("10.0.0.5/32", A, 0), local]);
        assert_eq!(way(&mirror, "10.0.0.5"), None);
        assert!(mirror.next_hops().is_local(addr("10.0.0.5")));
    }

    #[test]
    fn of_several_next_hops_the_first_by_an_interface_of_ours_is_taken() {
        let hops = [(FOREIGN, "10.9.0.1"), (A, "10.9.0.2"), (B, "10.9.0.3")].map(|(index, via)| {
            let mut hop = RouteNextHop::default();
            hop.interface_index = index;
            hop.attributes = vec![route::tests::gateway(via)];
            hop
        });
        let message =
            route::tests::message("0.0.0.0/0", vec![RouteAttribute::MultiPath(hops.into())]);
        assert_eq!(
            way(&mirror(&[message]), "192.0.2.1"),
            Some((1, "10.9.0.2".into()))
        );
    }

    #[test]
    fn blackholes_and_routes_by_foreign_interfaces_hide_the_default_route() {
        let mut blackhole = by("10.1.0.0/16", 0, 0);
        blackhole.header.kind = RouteType::BlackHole;
        let mirror = mirror(&[
            by("0.0.0.0/0", A, 0),
            blackhole,
            by("10.2.0.0/16", FOREIGN, 0),
        ]);
        assert_eq!(way(&mirror, "10.1.0.1"), None);
        assert_eq!(way(&mirror, "10.2.0.1"), None);
        assert!(way(&mirror, "10.3.0.1").is_some());
    }

    #[test]
    fn only_a_change_of_where_packets_go_counts_as_one() {
        let mut mirror = mirror(&[by("10.0.0.0/8", A, 0)]);
        let mut becomes = |state, last| {
            let mac = Some([2, 0, 0, 0, 0, last]);
            let message = neighbour::tests::message(A, "10.0.0.9", state, mac);
            let (index, addr, neighbour) = Neighbour::read(&message).expect("a neighbour");
            mirror.set_neighbour(index, addr, Some(neighbour))
        };
        assert!(!becomes(NeighbourState::Incomplete, 9));
        assert!(becomes(NeighbourState::Reachable, 9));
        assert!(!becomes(NeighbourState::Stale, 9));
        assert!(becomes(NeighbourState::Stale, 8));
        assert!(becomes(NeighbourState::Failed, 8));
        assert!(becomes(NeighbourState::Permanent, 8));
        assert!(mirror.set_neighbour(A, addr("10.0.0.9"), None));
        assert!(!mirror.set_neighbour(FOREIGN, addr("10.0.0.9"), None));
    }

    #[test]
    fn a_link_that_is_gone_keeps_its_number_and_does_not_come_back_under_another_index() {
        let mut mirror = mirror(&[by("10.0.0.0/8", A, 0)]);
        let mut without = tables(&[by("10.0.0.0/8", B, 0)]);
        without.links.retain(|l| l.index != A);
        without.links.push(link(9, "a"));
        mirror.load(without);
        assert_eq!(mirror.next_hops().interfaces().len(), 2);
        assert_eq!(way(&mirror, "10.0.0.1"), Some((0, "10.0.0.1".into())));
        mirror.load(Tables {
            links: vec![link(9, "a")],
            ..tables(&[by("10.0.0.0/8", 9, 0)])
        });
        assert_eq!(way(&mirror, "10.0.0.1"), None);
    }

    #[test]
    fn packets_come_from_what_the_route_prefers_or_from_an_address_of_the_interface() {
        let mut preferring = by("10.1.0.0/16", A, 0);
        let preferred = RouteAttribute::PrefSource(addr_of("10.9.0.1"));
        preferring.attributes.push(preferred);
        let hops = mirror(&[by("10.0.0.0/8", A, 0), preferring]).next_hops();
        assert_eq!(hops.source_for(addr("10.2.0.1")), Some(addr("10.0.0.3")));
        assert_eq!(hops.source_for(addr("10.1.0.1")), Some(addr("10.9.0.1")));
    }

    #[test]
    fn a_bridges_word_about_its_port_is_not_a_link() {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        assert!(Link::read(&message).is_none());
    }
}
