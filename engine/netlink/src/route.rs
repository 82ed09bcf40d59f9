//! A route as the kernel tells it, reduced to what decides where a packet leaves.

use std::cmp::Ordering;
use std::net::IpAddr;

use lb_model::{Addr, Prefix};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteType, RouteVia,
};

/// A route of the local or the main table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KernelRoute {
    pub prefix: Prefix,
    pub leads: Leads,
    /// The address that packets of ours come from when they take the route.
    pub source: Option<Addr>,
    destination: Addr,
    table: Table,
    metric: u32,
}

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Leads {
    /// To this machine.
    Here,
    /// Nowhere that we could send to: blackhole, unreachable, broadcast, an encapsulation of the kernel's.
    Nowhere,
    /// Out by one of these, in the kernel's order.
    Out(Vec<Path>),
}

/// One next hop of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    /// The kernel's index of the interface.
    pub index: u32,
    /// `None`: on-link.
    pub gateway: Option<Addr>,
}

/// In the order in which the kernel's default rules consult them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Table {
    Local,
    Main,
}

impl KernelRoute {
    /// The route in `message`; `None` if it never decides where our packets go: other tables, routes for one
    /// TOS or one source, cached clones, and routes whose every next hop is dead.
    pub fn read(message: &RouteMessage) -> Option<KernelRoute> {
        let header = &message.header;
        if header.tos != 0
            || header.source_prefix_length != 0
            || header.flags.contains(RouteFlags::Cloned)
        {
            return None;
        }
        let mut table = u32::from(header.table);
        let mut metric = 0;
        let mut destination = match header.address_family {
            AddressFamily::Inet => Addr::UNSPECIFIED_V4,
            AddressFamily::Inet6 => Addr::v6([0; 16]),
            _ => return None,
        };
        let mut source = None;
        let mut single = Way::default();
        let mut paths = Vec::new();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(value) => table = *value,
                RouteAttribute::Priority(value) => metric = *value,
                RouteAttribute::Destination(value) => destination = addr(value)?,
                RouteAttribute::PrefSource(value) => source = addr(value),
                RouteAttribute::MultiPath(hops) => {
                    paths.extend(hops.iter().filter_map(multipath_member));
                }
                other => single.read(other),
            }
        }
        let table = match table {
            255 => Table::Local,
            254 => Table::Main,
            _ => return None,
        };
        if !header.flags.contains(RouteFlags::Dead) {
            paths.extend(single.path());
        }
        let leads = match header.kind {
            RouteType::Unicast if single.encapsulated => Leads::Nowhere,
            RouteType::Unicast if paths.is_empty() => return None,
            RouteType::Unicast => Leads::Out(paths),
            RouteType::Local | RouteType::Anycast => Leads::Here,
            _ => Leads::Nowhere,
        };
        Some(KernelRoute {
            prefix: Prefix::new(destination, header.destination_prefix_length),
            leads,
            source,
            destination,
            table,
            metric,
        })
    }

    /// The one address of this machine that the route stands for.
    pub fn local_address(&self) -> Option<Addr> {
        let host = Prefix::new(self.destination, self.destination.bits());
        (self.leads == Leads::Here && self.prefix == host).then_some(self.destination)
    }

    /// Which of two routes to the same prefix the kernel would take: `Less` is the better one. Of equal ones it
    /// takes the one it lists first.
    pub fn preference(&self, other: &KernelRoute) -> Ordering {
        (self.table, self.metric).cmp(&(other.table, other.metric))
    }
}

/// The attributes that a whole route and each member of a multipath route have in common.
#[derive(Default)]
struct Way {
    index: Option<u32>,
    gateway: Option<Addr>,
    encapsulated: bool,
}

impl Way {
    fn read(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Oif(index) => self.index = Some(*index),
            RouteAttribute::Gateway(gateway) => self.gateway = addr(gateway),
            // An IPv4 route by an IPv6 next hop, RFC 5549.
            RouteAttribute::Via(RouteVia::Inet(gateway)) => self.gateway = Some((*gateway).into()),
            RouteAttribute::Via(RouteVia::Inet6(gateway)) => self.gateway = Some((*gateway).into()),
            RouteAttribute::Encap(_) | RouteAttribute::EncapType(_) => self.encapsulated = true,
            _ => {}
        }
    }

    fn path(&self) -> Option<Path> {
        self.index.map(|index| Path {
            index,
            gateway: self.gateway,
        })
    }
}

fn multipath_member(hop: &RouteNextHop) -> Option<Path> {
    let mut way = Way {
        index: Some(hop.interface_index),
        ..Way::default()
    };
    hop.attributes.iter().for_each(|a| way.read(a));
    let usable = !way.encapsulated && !hop.flags.contains(RouteNextHopFlags::Dead);
    way.path().filter(|_| usable)
}

fn addr(address: &RouteAddress) -> Option<Addr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::from(*v4).into()),
        RouteAddress::Inet6(v6) => Some(IpAddr::from(*v6).into()),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An IPv4 route of the main table, as the kernel would tell it.
    pub(crate) fn message(prefix: &str, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let (address, len) = prefix.split_once('/').expect("ADDRESS/LENGTH");
        let address: IpAddr = address.parse().expect("an address");
        let mut message = RouteMessage::default();
        message.header.address_family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.destination_prefix_length = len.parse().expect("a length");
        message.header.table = 254;
        message.header.kind = RouteType::Unicast;
        message.attributes = attributes;
        // The kernel leaves the destination of a default route out.
        if len != "0" {
            message
                .attributes
                .push(RouteAttribute::Destination(address.into()));
        }
        message
    }

    pub(crate) fn gateway(address: &str) -> RouteAttribute {
        RouteAttribute::Gateway(address.parse::<IpAddr>().expect("an address").into())
    }

    fn hop(index: u32, flags: RouteNextHopFlags) -> RouteNextHop {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop.flags = flags;
        hop
    }

    #[test]
    fn a_default_route_has_no_destination_attribute() {
        let route = KernelRoute::read(&message(
            "::/0",
            vec![RouteAttribute::Oif(3), gateway("fe80::1")],
        ))
        .expect("a route");
        assert_eq!(route.prefix.to_string(), "::/0");
        let Leads::Out(paths) = route.leads else {
            panic!("{route:?}")
        };
        assert_eq!((paths[0].index, paths.len()), (3, 1));
        assert_eq!(
            paths[0].gateway.map(|g| g.to_string()),
            Some("fe80::1".into())
        );
    }

    #[test]
    fn dead_next_hops_are_passed_over_and_a_route_of_only_dead_ones_is_none() {
        let members = |second| {
            message(
                "10.1.0.0/16",
                vec![RouteAttribute::MultiPath(vec![
                    hop(3, RouteNextHopFlags::Dead),
                    hop(4, second),
                ])],
            )
        };
        let route = KernelRoute::read(&members(RouteNextHopFlags::empty())).expect("a route");
        assert_eq!(
            route.leads,
            Leads::Out(vec![Path {
                index: 4,
                gateway: None
            }])
        );
        assert_eq!(KernelRoute::read(&members(RouteNextHopFlags::Dead)), None);
    }

    #[test]
    fn routes_for_one_tos_or_source_or_of_other_tables_do_not_count() {
        let plain = message("10.1.0.0/16", vec![RouteAttribute::Oif(3)]);
        assert!(KernelRoute::read(&plain).is_some());
        let mut tos = plain.clone();
        tos.header.tos = 16;
        let mut source = plain.clone();
        source.header.source_prefix_length = 8;
        let mut table = plain.clone();
        table.attributes.push(RouteAttribute::Table(1000));
        let mut clone = plain;
        clone.header.flags = RouteFlags::Cloned;
        for message in [tos, source, table, clone] {
            assert_eq!(KernelRoute::read(&message), None, "{message:?}");
        }
    }

    #[test]
    fn only_a_host_route_to_this_machine_is_a_local_address() {
        let mut host = message("10.1.0.1/32", vec![RouteAttribute::Oif(1)]);
        host.header.kind = RouteType::Local;
        host.header.table = 255;
        let read = |m: &RouteMessage| KernelRoute::read(m).and_then(|r| r.local_address());
        assert_eq!(read(&host), Some(Addr::v4([10, 1, 0, 1])));
        host.header.kind = RouteType::Broadcast;
        assert_eq!(read(&host), None);
        let mut net = message("127.0.0.0/8", vec![RouteAttribute::Oif(1)]);
        net.header.kind = RouteType::Local;
        assert_eq!(read(&net), None);
    }

    #[test]
    fn an_encapsulation_of_the_kernels_leads_nowhere_for_us() {
        let message = message(
            "10.1.0.0/16",
            vec![RouteAttribute::Oif(3), RouteAttribute::Encap(Vec::new())],
        );
        assert_eq!(
            KernelRoute::read(&message).map(|r| r.leads),
            Some(Leads::Nowhere)
        );
    }
}
