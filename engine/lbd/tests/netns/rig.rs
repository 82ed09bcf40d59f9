//! A lab with servers in it and `lbd` in front of them.

use std::net::SocketAddr;
use std::path::Path;

use lb_testkit::netns::{
    BALANCER, Balancer, Lab, LineServer, Plan, Replies, Scratch, Service, SinkServer, Topology,
    UdpServer, VIP, WebServer, server_address, server_name,
};

/// How packets are forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// To the server's MAC address; the servers answer directly, on the service's port.
    Dr,
    /// To the server's address and another port; the servers answer through the balancer.
    Nat,
}

/// The service that nginx serves.
pub const WEB: u16 = 80;
/// The service that swallows uploads.
pub const SINK: u16 = 9000;
/// The service that answers datagrams.
pub const UDP: u16 = 53;

/// The balancer's own ssh-like server.
pub fn ssh() -> SocketAddr {
    (BALANCER, 22).into()
}

/// A service as clients see it.
pub fn service(port: u16) -> SocketAddr {
    (VIP, port).into()
}

/// The web service as clients see it.
pub fn web() -> SocketAddr {
    service(WEB)
}

/// Everything a test needs; `lbd` goes first when it is dropped.
pub struct Rig {
    /// The running `lbd`.
    pub lbd: Balancer,
    /// The network around it.
    pub lab: Lab,
    /// A folder whose files the web servers offer under `/files/`.
    pub scratch: Scratch,
    config: String,
    _servers: Vec<(WebServer, SinkServer, UdpServer)>,
    _ssh: LineServer,
}

impl Rig {
    /// Makes a lab for `mode`, starts the servers, then `lbd`.
    pub fn start(topology: Topology, mode: Mode) -> Rig {
        let (lab, scratch) = (lab(topology, mode), Scratch::new().expect("a folder"));
        let servers = (0..lab.servers.len())
            .map(|index| servers(&lab, mode, index, &scratch))
            .collect();
        let ssh = LineServer::start(&lab.balancer, ssh()).expect("a server");
        let config = lab.config(&services(mode));
        let lbd = start_lbd(&lab, &config);
        Rig {
            lbd,
            lab,
            scratch,
            config,
            _servers: servers,
            _ssh: ssh,
        }
    }

    /// Starts another `lbd` when the first one has ended.
    pub fn start_again(&mut self) {
        self.lbd = start_lbd(&self.lab, &self.config);
    }

    /// Ends `lbd` as an administrator would: it must say that it leaves in order, and be right. Returns its log.
    pub fn finish(mut self) -> String {
        let status = self.lbd.terminate().expect("it ends");
        let log = self.lbd.log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("frames conserved"), "{log}");
        assert!(!self.has_xdp(), "an XDP program is left");
        log
    }

    /// Whether any of the balancer's interfaces has an XDP program.
    pub fn has_xdp(&self) -> bool {
        let links = self.lab.balancer.ip("-details link show").expect("links");
        links.contains("prog/xdp") || links.contains("xdpgeneric")
    }

    /// Whether the service's address is on one of the balancer's interfaces.
    pub fn holds_vip(&self) -> bool {
        let addresses = self
            .lab
            .balancer
            .ip("-oneline address show")
            .expect("addresses");
        addresses.contains(&format!(" {VIP}/"))
    }
}

/// A lab whose servers' replies take the way that `mode` needs.
fn lab(topology: Topology, mode: Mode) -> Lab {
    let replies = match mode {
        Mode::Dr => Replies::Direct,
        Mode::Nat => Replies::ThroughBalancer,
    };
    Lab::new(Plan::new(topology, replies)).expect("a lab")
}

fn start_lbd(lab: &Lab, config: &str) -> Balancer {
    Balancer::start(lab, Path::new(env!("CARGO_BIN_EXE_lbd")), config).expect("lbd")
}

/// The services of a rig; NAT maps every port to another one, DR cannot.
fn services(mode: Mode) -> [Service; 3] {
    let service = |protocol, port| match mode {
        Mode::Dr => Service {
            mode: "dr",
            protocol,
            port,
            server_port: port,
        },
        Mode::Nat => Service {
            mode: "nat",
            protocol,
            port,
            server_port: port + 8000,
        },
    };
    [
        service("tcp", WEB),
        service("tcp", SINK),
        service("udp", UDP),
    ]
}

fn servers(
    lab: &Lab,
    mode: Mode,
    index: usize,
    scratch: &Scratch,
) -> (WebServer, SinkServer, UdpServer) {
    let (namespace, name) = (&lab.servers[index], server_name(index));
    let address = match mode {
        Mode::Dr => VIP,
        Mode::Nat => server_address(index),
    };
    let [web, sink, udp] = services(mode).map(|service| service.server_port);
    (
        WebServer::start(namespace, &name, web, scratch).expect("nginx"),
        SinkServer::start(namespace, (address, sink).into()).expect("a server"),
        UdpServer::start(namespace, &name, (address, udp).into()).expect("a server"),
    )
}
