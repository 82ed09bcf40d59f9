//! A lab with servers in it and `lbd` in front of them.

use std::net::SocketAddr;
use std::path::Path;

use lb_testkit::netns::{
    Agent, BALANCER, Balancer, EndingServer, Error, Family, IperfServer, Lab, LineServer, Plan,
    Replies, Scratch, Service, SinkServer, Topology, UdpServer, VIP, WebServer, server_name,
};
use lb_testkit::program;

/// How packets are forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// To the server's MAC address; the servers answer directly, on the service's port.
    Dr,
    /// To the server's address and another port; the servers answer through the balancer.
    Nat,
    /// As NAT, but from an address of the balancer's: the servers answer that, wherever their routes lead.
    Fnat,
    /// Inside another IP packet of the same family, which `lbrs` takes off on the server; it answers directly.
    Tun,
    /// Inside UDP and an IP packet of the other family.
    Gue,
    /// Inside GRE and an IP packet of the same family.
    Gre,
    /// As FNAT from the service's own address; `lbrs` on the servers answers clients directly in the balancer's place.
    Enat,
    /// The same with nobody on the servers who would: the answers come through the balancer.
    EnatAlone,
}

impl Mode {
    /// All of them, with what they need on the servers.
    pub const ALL: [Mode; 7] = [
        Mode::Dr,
        Mode::Nat,
        Mode::Fnat,
        Mode::Enat,
        Mode::Tun,
        Mode::Gue,
        Mode::Gre,
    ];

    fn name(self) -> &'static str {
        match self {
            Mode::Dr => "dr",
            Mode::Nat => "nat",
            Mode::Fnat => "fnat",
            Mode::Tun | Mode::Gue | Mode::Gre => "tun",
            Mode::Enat | Mode::EnatAlone => "enat",
        }
    }

    /// The way that the servers' replies must take, as far as it is not the agent that sees to it.
    fn replies(self) -> Replies {
        match self {
            Mode::Dr => Replies::Direct,
            Mode::Nat | Mode::EnatAlone => Replies::ThroughBalancer,
            Mode::Fnat | Mode::Enat | Mode::Tun | Mode::Gue | Mode::Gre => Replies::ToBalancer,
        }
    }

    /// Whether the servers serve the service's own address and port.
    fn reaches_vip(self) -> bool {
        !matches!(self, Mode::Nat | Mode::Fnat | Mode::Enat | Mode::EnatAlone)
    }

    /// Where the servers serve the service's `port`.
    fn server_port(self, port: u16) -> u16 {
        match self.reaches_vip() {
            true => port,
            false => port + 8000,
        }
    }

    fn server_family(self, family: Family) -> Family {
        match (self, family) {
            (Mode::Gue, Family::V4) => Family::V6,
            (Mode::Gue, Family::V6) => Family::V4,
            _ => family,
        }
    }

    fn tunnel(self) -> &'static str {
        match self {
            Mode::Gue => "tunnel = { type = \"gue\", port = 6080, checksum = \"csum\" }",
            Mode::Gre => "tunnel = { type = \"gre\", checksum = \"csum\" }",
            _ => "",
        }
    }

    /// What `lbrs` is told on the servers.
    fn agent(self, topology: Topology) -> Option<String> {
        let [vips, dips] = [
            Family::BOTH.map(|f| f.vip().to_string()).join(" "),
            Family::BOTH
                .map(|f| f.balancer_back(topology).to_string())
                .join(","),
        ];
        match self {
            Mode::Tun | Mode::Gue | Mode::Gre => Some(format!("tun {vips} --from {dips}")),
            Mode::Enat => {
                // Over IPv6 TCP has no room to tell the service's port.
                let vip = Family::V6.vip();
                let ports = [WEB, SINK, ENDING, IPERF]
                    .map(|port| format!(" --port [{vip}]:{port}={}", self.server_port(port)));
                Some(format!("enat {vips}{}", ports.concat()))
            }
            _ => None,
        }
    }
}

/// The service that nginx serves.
pub const WEB: u16 = 80;
/// The service that swallows uploads.
pub const SINK: u16 = 9000;
/// The service that answers datagrams.
pub const UDP: u16 = 53;

/// The service that ends connections as it is asked to.
pub const ENDING: u16 = 9001;
/// The service that iperf3 serves.
pub const IPERF: u16 = 5201;

/// The balancer's own ssh-like server.
pub fn ssh() -> SocketAddr {
    (BALANCER, 22).into()
}

/// A service in IPv4 as clients see it.
pub fn service(port: u16) -> SocketAddr {
    service_in(Family::V4, port)
}

/// A service as clients see it.
pub fn service_in(family: Family, port: u16) -> SocketAddr {
    (family.vip(), port).into()
}

/// The web service in IPv4 as clients see it.
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
    /// What runs on the servers.
    pub servers: Vec<Servers>,
    _ssh: LineServer,
}

impl Rig {
    /// Makes a lab for `mode`, starts the servers, then `lbd`.
    pub fn start(topology: Topology, mode: Mode) -> Rig {
        Rig::start_with(topology, mode, "")
    }

    /// The same, with `more` in the configuration.
    pub fn start_with(topology: Topology, mode: Mode, more: &str) -> Rig {
        Rig::start_in(Plan::new(topology, mode.replies()), mode, more)
    }

    /// Two queues on each of the balancer's interfaces, and a worker for each queue.
    pub fn start_on_two_queues(topology: Topology, mode: Mode) -> Rig {
        let plan = Plan {
            queues: 2,
            ..Plan::new(topology, mode.replies())
        };
        Rig::start_in(plan, mode, "")
    }

    fn start_in(plan: Plan, mode: Mode, more: &str) -> Rig {
        // Connections would end if they were idle while it is built.
        program("lbctl");
        let lab = Lab::new(plan).expect("a lab");
        let scratch = Scratch::new().expect("a folder");
        let servers = (0..lab.servers.len())
            .map(|index| Servers::start(&lab, mode, index, &scratch))
            .collect();
        let ssh = LineServer::start(&lab.balancer, ssh()).expect("a server");
        let config = lab.config(&services(mode)) + more;
        let lbd = start_lbd(&lab, &config);
        Rig {
            lbd,
            lab,
            scratch,
            config,
            servers,
            _ssh: ssh,
        }
    }

    /// Starts another `lbd` when the first one has ended.
    pub fn start_again(&mut self) {
        self.lbd = start_lbd(&self.lab, &self.config);
    }

    /// Ends `lbd`, and starts another with this configuration.
    pub fn start_again_with(&mut self, config: &str) {
        let status = self.lbd.terminate().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", self.lbd.log());
        self.config = config.to_owned();
        self.start_again();
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

fn start_lbd(lab: &Lab, config: &str) -> Balancer {
    Balancer::start(lab, Path::new(env!("CARGO_BIN_EXE_lbd")), config).expect("lbd")
}

/// The services of a rig, in both families; NAT maps every port to another one, DR cannot.
fn services(mode: Mode) -> Vec<Service> {
    let mut services = Vec::new();
    for family in Family::BOTH {
        // iperf3 makes several connections for one measurement.
        let sticky = "persistence = { timeout = \"60s\" }";
        for (protocol, port, more) in [
            ("tcp", WEB, ""),
            ("tcp", SINK, ""),
            ("tcp", ENDING, ""),
            ("tcp", IPERF, sticky),
            ("udp", UDP, ""),
        ] {
            services.push(Service {
                family,
                server_family: mode.server_family(family),
                server_port: mode.server_port(port),
                more,
                more_of_server: mode.tunnel(),
                ..Service::new(mode.name(), protocol, port)
            });
        }
    }
    services
}

/// What runs on one server, for services in both families.
pub struct Servers {
    pub endings: Vec<EndingServer>,
    _web: WebServer,
    _sinks: Vec<SinkServer>,
    _udp: Vec<UdpServer>,
    pub iperf: IperfServer,
    _agent: Option<Agent>,
}

impl Servers {
    fn start(lab: &Lab, mode: Mode, index: usize, scratch: &Scratch) -> Servers {
        let (namespace, name) = (&lab.servers[index], server_name(index));
        // First, for it brings the VIPs that the servers bind to.
        let agent = mode
            .agent(lab.plan.topology)
            .map(|arguments| Agent::start(namespace, &program("lbrs"), &arguments).expect("lbrs"));
        let on = |family: Family, port| {
            let address = match mode.reaches_vip() {
                true => family.vip(),
                false => family.server(index),
            };
            (address, mode.server_port(port)).into()
        };
        let web = WebServer::start(namespace, &name, mode.server_port(WEB), scratch);
        let sinks = Family::BOTH.map(|family| SinkServer::start(namespace, on(family, SINK)));
        let endings = Family::BOTH.map(|family| EndingServer::start(namespace, on(family, ENDING)));
        let udp = Family::BOTH.map(|family| UdpServer::start(namespace, &name, on(family, UDP)));
        let iperf = IperfServer::start(namespace, mode.server_port(IPERF));
        Servers {
            endings: all(endings),
            _web: web.expect("nginx"),
            _sinks: all(sinks),
            _udp: all(udp),
            iperf: iperf.expect("iperf3"),
            _agent: agent,
        }
    }
}

fn all<S>(started: [Result<S, Error>; 2]) -> Vec<S> {
    let servers = started.into_iter();
    servers.map(|server| server.expect("a server")).collect()
}
