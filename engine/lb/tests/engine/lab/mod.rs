//! The whole engine in memory: frames in by hand, frames out compared byte by byte, every counter accounted for.
//!
//! ```text
//! clients 192.0.2.0/24 --- eth0 [ balancer ] eth1 --- servers 10.1.0.11, .12, .13 ...
//!      2001:db8:c::/64                                    2001:db8:1::11, ::12, ::13 ...
//! ```

mod family;
mod queues;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb::{
    Addr, Config, Counter, Endpoint, Engine, Interface, InterfaceId, Mac, NextHops, Port, Prefix,
    Protocol, Registry, ServiceConfig, Time, Worker,
};
use lb_testkit::{MemoryPort, PacketBuilder};

pub use family::{Family, V4, V6};
#[allow(unused_imports, reason = "each test target uses a part of the lab")]
pub use queues::{Queues, Sent};

pub const CIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub const CIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
/// Our own addresses towards the servers.
pub const DIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub const DIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// Sources of packets to the servers in FNAT.
pub const LIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
pub const LIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
pub const ETH0: InterfaceId = InterfaceId(0);
pub const ETH1: InterfaceId = InterfaceId(1);
pub const ETH0_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xd0]);
pub const ETH1_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xd1]);
pub const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// The servers' addresses, from 0.
pub fn rip(server: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, 11 + server)
}

/// The servers' IPv6 addresses, from 0.
pub fn rip6(server: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11 + u16::from(server))
}

/// The servers' MACs, from 0.
pub fn rip_mac(server: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, 11 + server])
}

/// A service on [`VIP`] port 80 without servers.
pub fn service(mode: &str, protocol: Protocol) -> ServiceConfig {
    service_at(VIP.into(), mode, protocol)
}

/// A service on `vip` port 80 without servers.
pub fn service_at(vip: IpAddr, mode: &str, protocol: Protocol) -> ServiceConfig {
    ServiceConfig::new(Endpoint::new(vip.into(), 80), protocol, "rr", mode)
}

/// The service with servers `0..count` on `port`.
pub fn with_servers(service: ServiceConfig, count: u8, port: u16) -> ServiceConfig {
    (0..count).fold(service, |service, server| {
        service.with_server(Endpoint::new(rip(server).into(), port), 1)
    })
}

pub struct Lab {
    pub engine: Engine,
    pub config: Config,
    worker: Option<Worker<MemoryPort>>,
    now: Time,
    expected: Moved,
}

type Moved = BTreeMap<String, u64>;

impl Lab {
    pub fn new(services: Vec<ServiceConfig>) -> Lab {
        Lab::with(services, Registry::builtin(), 1000)
    }

    pub fn with(services: Vec<ServiceConfig>, registry: Registry, capacity: u32) -> Lab {
        let mut config = Config {
            services,
            ..Config::default()
        };
        config.engine.capacity = capacity;
        Lab::with_config(config, registry)
    }

    pub fn with_config(config: Config, registry: Registry) -> Lab {
        let engine = Engine::with_registry(&config, registry).expect("a valid configuration");
        engine.set_next_hops(Lab::next_hops());
        let worker = engine.worker(MemoryPort::new(512));
        Lab {
            engine,
            config,
            worker: Some(worker),
            now: Time::ZERO,
            expected: Moved::new(),
        }
    }

    /// All hosts reachable.
    pub fn next_hops() -> NextHops {
        let interface = |name: &str, mac, addresses| Interface {
            name: name.into(),
            mac,
            mtu: 1500,
            addresses,
        };
        let mut hops = NextHops::new(vec![
            interface("eth0", ETH0_MAC, vec![Addr::v4([192, 0, 2, 254])]),
            interface("eth1", ETH1_MAC, vec![DIP.into(), DIP6.into()]),
        ]);
        for (addr, len, egress) in [
            (Addr::from(CIP), 24, ETH0),
            (Addr::from(rip(0)), 24, ETH1),
            (Addr::from(CIP6), 64, ETH0),
            (Addr::from(rip6(0)), 64, ETH1),
        ] {
            hops.set_route(Prefix::new(addr, len), Some(egress), None);
        }
        hops.set_neighbour(ETH0, CIP6.into(), CLIENT_MAC);
        for client in 1..=254 {
            hops.set_neighbour(ETH0, Addr::v4([192, 0, 2, client]), CLIENT_MAC);
        }
        for server in 0..8 {
            hops.set_neighbour(ETH1, rip(server).into(), rip_mac(server));
            hops.set_neighbour(ETH1, rip6(server).into(), rip_mac(server));
        }
        hops
    }

    pub fn worker(&mut self) -> &mut Worker<MemoryPort> {
        self.worker
            .as_mut()
            .expect("present until the lab is dropped")
    }

    pub fn port(&mut self) -> &mut MemoryPort {
        self.worker().port_mut()
    }

    /// Lets a frame come in from the clients' side; a turn takes it.
    pub fn client_sends(&mut self, packet: &PacketBuilder) {
        assert!(self.port().inject(ETH0, &packet.bytes()), "a free frame");
    }

    /// Lets a frame come in from the servers' side; a turn takes it.
    pub fn server_sends(&mut self, packet: &PacketBuilder) {
        assert!(self.port().inject(ETH1, &packet.bytes()), "a free frame");
    }

    /// One turn, now.
    pub fn turn(&mut self) {
        let now = self.now;
        self.worker().turn(now);
    }

    /// A packet from a client, and the turn that handles it.
    pub fn inbound(&mut self, packet: &PacketBuilder) {
        self.client_sends(packet);
        self.turn();
    }

    /// A packet from a server, and the turn that handles it.
    pub fn outbound(&mut self, packet: &PacketBuilder) {
        self.server_sends(packet);
        self.turn();
    }

    pub fn pass_time(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// The next frame sent must be this one.
    #[track_caller]
    pub fn expect_tx(&mut self, egress: InterfaceId, packet: &PacketBuilder) {
        let sent = self.port().take_sent();
        assert_eq!(
            sent.map(hex),
            Some(hex((egress, packet.bytes()))),
            "the next frame sent"
        );
    }

    /// The next frame handed to the kernel must be this one.
    #[track_caller]
    pub fn expect_punted(&mut self, ingress: InterfaceId, packet: &PacketBuilder) {
        let punted = self.port().take_punted();
        assert_eq!(
            punted.map(hex),
            Some(hex((ingress, packet.bytes()))),
            "the next frame punted"
        );
    }

    #[track_caller]
    pub fn expect_nothing_sent(&mut self) {
        assert_eq!(self.port().take_sent().map(hex), None);
        assert_eq!(self.port().take_punted().map(hex), None);
    }

    /// These counters moved, by one for each time they are named, and no other moved since the last such call.
    /// Byte counters are left out, and `rx` counts itself: it must be the sum of what ended or waits.
    #[track_caller]
    pub fn expect_counters(&mut self, moved: &[&str]) {
        for name in moved {
            *self.expected.entry((*name).to_owned()).or_default() += 1;
        }
        let quiet = [Counter::Rx, Counter::RxBytes, Counter::TxBytes];
        let counters = self.worker().counters().clone();
        let seen: Moved = counters
            .nonzero()
            .filter(|(counter, _)| !quiet.contains(counter))
            .map(|(counter, value)| (counter.to_string(), value))
            .collect();
        assert_eq!(seen, self.expected);
    }
}

impl Drop for Lab {
    /// Every frame is accounted for at the end of every test.
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        let mut port = worker.into_port();
        while port.take_sent().is_some() {}
        let census = port.census();
        if !std::thread::panicking() {
            assert!(
                census.is_conserved()
                    && census.held == 0
                    && census.free + census.receiving == census.total,
                "{census:?}"
            );
        }
    }
}

fn hex((interface, bytes): (InterfaceId, Vec<u8>)) -> String {
    let words: Vec<String> = bytes
        .chunks(2)
        .map(|w| w.iter().map(|b| format!("{b:02x}")).collect())
        .collect();
    format!("{interface:?} {}", words.join(" "))
}
