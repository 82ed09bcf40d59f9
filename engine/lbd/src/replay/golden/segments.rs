//! One server with a service for TCP and one for UDP, and segments by side and flags.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::lab::{self, CLIENT_SIDE, Lab, Outcome, Place, SERVER_SIDE, flags};

const SERVER: [u8; 4] = [10, 20, 0, 11];

/// A service that forwards in one way.
pub struct Service {
    address: SocketAddr,
    server: SocketAddr,
    method: &'static str,
}

impl Service {
    pub fn of(forward: &str) -> Service {
        let (method, port) = match forward {
            "nat" => ("-m", 8080),
            "dr" => ("-g", 80),
            "tun" => ("-i", 80),
            _ => panic!("unknown: {forward}"),
        };
        Service {
            address: ([203, 0, 113, 5], 80).into(),
            server: (SERVER, port).into(),
            method,
        }
    }

    /// A balancer with this service.
    pub fn lab(&self, sysctl: BTreeMap<String, u32>) -> Lab {
        let mac = lab::server_mac();
        let mut lab = Lab::new(&Place {
            sysctl,
            neighbours: vec![(IpAddr::from(SERVER), &mac)],
            capacity: 1000,
            ..Place::default()
        });
        let Service {
            address,
            server,
            method,
        } = self;
        for protocol in ["-t", "-u"] {
            lab.command(&format!("-A {protocol} {address} -s rr"));
            lab.command(&format!("-a {protocol} {address} -r {server} {method}"));
        }
        lab
    }

    /// Sends a segment like `c:SA` (from the client, SYN and ACK) or `s:F`.
    pub fn segment(&self, lab: &mut Lab, client: SocketAddr, segment: &str) -> Outcome {
        let (side, letters) = segment.split_once(':').expect("a side and flags");
        let (from, to) = match side {
            "c" => (client, self.address),
            _ => (self.server, client),
        };
        let (side, packet) = match side {
            "c" => (CLIENT_SIDE, lab::from_client(from, to)),
            _ => (SERVER_SIDE, lab::from_server(from, to)),
        };
        let (source, destination) = (from.port(), to.port());
        let packet = match letters {
            "datagram" => packet.udp(source, destination),
            _ => packet.tcp(source, destination).flags(flags(letters)),
        };
        lab.frame(side, &packet.bytes())
    }

    /// Active and inactive conns of the server, both protocols' together.
    pub fn counts(&self, lab: &mut Lab) -> (u32, u32) {
        let services = lab.services();
        let servers = services.iter().flat_map(|service| &service.servers);
        servers.fold((0, 0), |(active, inactive), server| {
            (active + server.active, inactive + server.inactive)
        })
    }
}
