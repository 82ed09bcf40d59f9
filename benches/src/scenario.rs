//! A balancer between many clients and sixteen servers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb::{
    Addr, Config, ConnState, Endpoint, Engine, Interface, InterfaceId, Mac, NextHops, Prefix,
    Protocol, ServiceConfig, Time, Worker,
};
use lb_testkit::pkt;
use lb_wire::IpHeader;

use crate::RecyclingPort;

/// The service's IPv4 address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// The service's IPv6 address.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64);
const LIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 200);
const LIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 200);
const SERVERS: u8 = 16;
/// Where clients are.
pub const CLIENT_SIDE: InterfaceId = InterfaceId(0);
/// Where servers are.
pub const SERVER_SIDE: InterfaceId = InterfaceId(1);

/// One of the clients' ends: 50 000 ports on each of as many addresses as it takes, from 172.16.0.0.
pub fn client(flow: u32) -> Endpoint {
    let addr = Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 0)) + flow / 50_000);
    Endpoint::new(addr.into(), (1024 + flow % 50_000) as u16)
}

/// A minimum-size UDP packet of flow `flow` to the VIP.
pub fn inbound(flow: u32) -> (InterfaceId, Vec<u8>) {
    let client = client(flow);
    let [a, b, c, d] = client.addr.as_v4().expect("IPv4");
    let packet = pkt()
        .ipv4(Ipv4Addr::new(a, b, c, d), VIP)
        .udp(client.port, 80)
        .payload(&[0; 18]);
    (CLIENT_SIDE, packet.bytes())
}

/// [`client`] over IPv6, with as many ports of as many addresses.
pub fn client_v6(flow: u32) -> Endpoint {
    let host = (flow / 50_000) as u16;
    let addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, host);
    Endpoint::new(addr.into(), client(flow).port)
}

/// [`inbound`] over IPv6.
pub fn inbound_v6(flow: u32) -> (InterfaceId, Vec<u8>) {
    let client = client_v6(flow);
    let packet = pkt()
        .ip(client.addr.into(), VIP6.into())
        .udp(client.port, 80);
    (CLIENT_SIDE, packet.bytes())
}

/// The answer of whichever server this was forwarded to, over UDP and IPv4.
pub fn answer(forwarded: &[u8]) -> (InterfaceId, Vec<u8>) {
    let parsed = lb_wire::parse(forwarded).expect("it was forwarded");
    let IpHeader::V4(ip) = parsed.ip else {
        panic!("it went over IPv6");
    };
    let packet = pkt()
        .ipv4(ip.destination.into(), ip.source.into())
        .udp(parsed.destination_port, parsed.source_port)
        .payload(&[0; 18]);
    (SERVER_SIDE, packet.bytes())
}

fn rip(server: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, 11 + server)
}

fn rip6(server: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 11 + u16::from(server))
}

/// Clients behind a gateway, servers on-link, all MACs known.
pub fn next_hops() -> NextHops {
    let interface = |name: &str, last| Interface {
        name: name.into(),
        mac: Mac([2, 0, 0, 0, 0, last]),
        mtu: 1500,
        addresses: vec![
            Addr::v4([10, 0, 0, last]),
            Addr::v4([10, 1, 0, last]),
            Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xd0).into(),
        ],
    };
    let mut hops = NextHops::new(vec![interface("eth0", 0xd0), interface("eth1", 0xd1)]);
    let gateway = Addr::v4([10, 0, 0, 254]);
    hops.set_route(
        Prefix::new(Addr::v4([0; 4]), 0),
        Some(CLIENT_SIDE),
        Some(gateway),
    );
    hops.set_route(
        Prefix::new(Addr::v4([10, 0, 0, 0]), 24),
        Some(CLIENT_SIDE),
        None,
    );
    hops.set_route(
        Prefix::new(Addr::v4([10, 1, 0, 0]), 24),
        Some(SERVER_SIDE),
        None,
    );
    hops.set_neighbour(CLIENT_SIDE, gateway, Mac([2, 0, 0, 0, 0, 1]));
    for server in 0..SERVERS {
        hops.set_neighbour(
            SERVER_SIDE,
            rip(server).into(),
            Mac([2, 0, 0, 0, 1, server]),
        );
        hops.set_neighbour(
            SERVER_SIDE,
            rip6(server).into(),
            Mac([2, 0, 0, 0, 1, server]),
        );
    }
    let clients = Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let gateway = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe).into();
    hops.set_route(clients, Some(CLIENT_SIDE), Some(gateway));
    hops.set_route(Prefix::new(gateway, 64), Some(CLIENT_SIDE), None);
    hops.set_route(Prefix::new(rip6(0).into(), 64), Some(SERVER_SIDE), None);
    hops.set_neighbour(CLIENT_SIDE, gateway, Mac([2, 0, 0, 0, 0, 1]));
    hops
}

/// A service in `mode` at an IPv4 or IPv6 address, over sixteen servers at such by round robin, and with a local address
/// where the mode needs one.
pub fn service(
    mode: &str,
    protocol: Protocol,
    vip_is_v6: bool,
    servers_are_v6: bool,
) -> ServiceConfig {
    let (vip, lip): (Addr, Addr) = match vip_is_v6 {
        true => (VIP6.into(), LIP6.into()),
        false => (VIP.into(), LIP.into()),
    };
    let mut service = ServiceConfig::new(Endpoint::new(vip, 80), protocol, "rr", mode);
    if mode == "fnat" {
        service.local_addresses.push(lip);
    }
    (0..SERVERS).fold(service, |service, server| {
        let rip: Addr = match servers_are_v6 {
            true => rip6(server).into(),
            false => rip(server).into(),
        };
        service.with_server(Endpoint::new(rip, 80), 1)
    })
}

/// A worker with one service.
pub struct Scenario {
    /// The worker, on a [`RecyclingPort`].
    pub worker: Worker<RecyclingPort>,
    engine: Engine,
    config: Config,
}

impl Scenario {
    /// This service, with room for `capacity` conns, for which all memory is taken.
    pub fn serving(service: ServiceConfig, capacity: u32) -> Scenario {
        let headroom = match &*service.mode {
            "tun" => (service.servers.first())
                .map_or(0, |server| server.tunnel.overhead(server.rip.addr.is_v4())),
            _ => 0,
        };
        let mut config = Config::default().with_service(service);
        config.engine.capacity = capacity;
        let engine = Engine::new(&config).expect("a valid configuration");
        engine.set_next_hops(next_hops());
        let mut worker = engine.worker(RecyclingPort::new());
        worker.port_mut().set_headroom(headroom);
        // As lbd does.
        worker.populate();
        Scenario {
            worker,
            engine,
            config,
        }
    }

    /// The time-out of UDP conns, from their next packets on.
    pub fn set_udp_timeout(&mut self, timeout: Duration) {
        let timeouts = self.config.timeouts.clone();
        self.config.timeouts = timeouts.with(ConnState::Udp, timeout);
        let applied = self.engine.apply(&self.config);
        applied.expect("a valid configuration");
    }

    /// Opens the conns of flows `0..flows` by packets of this kind.
    pub fn open(&mut self, flows: u32, packet: fn(u32) -> (InterfaceId, Vec<u8>)) {
        for chunk in 0..flows.div_ceil(64) {
            self.deliver((64 * chunk..flows.min(64 * chunk + 64)).map(packet));
            self.worker.turn(Time::ZERO);
        }
        assert_eq!(
            self.worker.conns().len(),
            flows as usize,
            "every flow has its conn"
        );
    }

    /// Delivers these packets from now on.
    pub fn deliver(&mut self, packets: impl IntoIterator<Item = (InterfaceId, Vec<u8>)>) {
        self.worker.port_mut().deliver(packets);
    }
}
