//! Two balancers, one address, elected by keepalived; as a rule DR with `mh`, so that either picks the same server.
//!
//! ```text
//!  client ──┤   ├── one, two      lbd and keepalived; `two` may be a real server besides
//!           │   ├── server-1, server-2
//! ```
//!
//! In NAT the servers are behind the two, and their gateway is an address that moves with the service's:
//!
//! ```text
//!  client ──┤   ├── one ──┤   ├── server-1, server-2
//!               ├── two ──┤
//! ```

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use lb_testkit::netns::{Agent, LineServer, Namespace, UdpServer, available};
use lb_testkit::program;

use crate::node::Node;
use crate::segment::{both, connect, hold, installed, mac, v4, v6};
use crate::steady::{Steady, gap, lost};

const CLIENT: u8 = 1;
const ONE: u8 = 11;
const TWO: u8 = 12;
const SERVER: u8 = 21;
const OTHER: u8 = 22;
pub const VIP: u8 = 100;
const PORT: u16 = 7;
/// The servers' segment, if it is not the clients', and their gateway there.
const INSIDE: u8 = 1;
const GATEWAY: u8 = 254;

/// What the two are told.
#[derive(Clone, Copy)]
pub struct Setup {
    pub mode: &'static str,
    pub scheduler: &'static str,
    /// Whether a packet other than a SYN opens a conn.
    pub sloppy: bool,
    /// Whether `two` is the second real server.
    pub two_serves: bool,
    /// Whether clients stay with their servers.
    pub persistent: bool,
}

impl Setup {
    /// The net of the servers.
    fn inside(self) -> u8 {
        if self.mode == "nat" { INSIDE } else { 0 }
    }

    /// Which host is the second server.
    fn second(self) -> u8 {
        if self.two_serves { TWO } else { OTHER }
    }
}

/// With `mh`, where a conn is opened wherever its packets come.
const ALIKE: Setup = Setup {
    mode: "dr",
    scheduler: "mh",
    sloppy: true,
    two_serves: true,
    persistent: false,
};

pub struct Pair {
    pub one: Node,
    pub two: Node,
    pub client: Namespace,
    _hosts: [Namespace; 2],
    _switches: Vec<Namespace>,
    _servers: Vec<(LineServer, UdpServer)>,
    _agents: Vec<Agent>,
}

impl Pair {
    pub fn start(setup: Setup) -> Pair {
        let [client, server, other] = ["client", "server-1", "server-2"]
            .map(|name| Namespace::new(name).expect("a namespace"));
        let (one, two) = (Node::new("one"), Node::new("two"));
        let clients = (&client, "eth0", CLIENT);
        let nodes = |interface| {
            [
                (&one.namespace, interface, ONE),
                (&two.namespace, interface, TWO),
            ]
        };
        let serving = [(&server, "eth0", SERVER), (&other, "eth0", OTHER)];
        let switches = match setup.inside() {
            0 => vec![connect(
                0,
                &[&[clients], &nodes("eth0")[..], &serving].concat(),
            )],
            inside => vec![
                connect(0, &[&[clients], &nodes("eth0")[..]].concat()),
                connect(inside, &[&nodes("eth1")[..], &serving].concat()),
            ],
        };
        let (mut servers, mut agents) = (Vec::new(), Vec::new());
        let second = if setup.two_serves {
            &two.namespace
        } else {
            &other
        };
        for (host, number) in [(&server, SERVER), (second, setup.second())] {
            agents.extend(prepare(setup, host));
            let addresses = match setup.mode {
                "nat" => both(INSIDE, number),
                _ => both(0, VIP),
            };
            for address in addresses.map(|address| SocketAddr::new(address, PORT)) {
                let lines = LineServer::start(host, address).expect("a server");
                let datagrams = UdpServer::start(host, host.label(), address).expect("a server");
                servers.push((lines, datagrams));
            }
        }
        let mut pair = Pair {
            one,
            two,
            client,
            _hosts: [server, other],
            _switches: switches,
            _servers: servers,
            _agents: agents,
        };
        pair.one.start_lbd(&config(setup, TWO));
        pair.two.start_lbd(&config(setup, ONE));
        let mut addresses = vec![
            format!("{}/32", v4(0, VIP)),
            format!("{}/128 dev eth0", v6(0, VIP)),
        ];
        if setup.inside() != 0 {
            let gateway = both(INSIDE, GATEWAY).map(|address| {
                let bits = if address.is_ipv4() { 24 } else { 64 };
                format!("{address}/{bits} dev eth1")
            });
            addresses.extend(gateway);
        }
        pair.one.start_keepalived(150, &addresses);
        pair.one.wait_until_it_holds(&v4(0, VIP).to_string());
        pair.two.start_keepalived(100, &addresses);
        pair
    }
}

/// Makes a server of a host, as its mode needs it.
fn prepare(setup: Setup, host: &Namespace) -> Option<Agent> {
    match setup.mode {
        "nat" => {
            for gateway in both(INSIDE, GATEWAY) {
                let family = if gateway.is_ipv4() { "-4" } else { "-6" };
                host.ip(&format!("{family} route add default via {gateway}"))
                    .expect("a route");
            }
            None
        }
        "tun" => {
            let vips = both(0, VIP).map(|vip| vip.to_string()).join(" ");
            let from = [both(0, ONE), both(0, TWO)].concat();
            let from: Vec<String> = from.iter().map(ToString::to_string).collect();
            let arguments = format!("tun {vips} --from {}", from.join(","));
            Some(Agent::start(host, &program("lbrs"), &arguments).expect("lbrs"))
        }
        _ => {
            hold(host, &both(0, VIP));
            None
        }
    }
}

/// That of one balancer beside another.
fn config(setup: Setup, peer: u8) -> String {
    let interfaces = match setup.inside() {
        0 => "\"eth0\"",
        _ => "\"eth0\", \"eth1\"",
    };
    let mut text = format!(
        "[engine]\ninterfaces = [{interfaces}]\ncapacity = 10000\npeers = [\"{}\"]\n[ipvs]\nsloppy_tcp = {}\n",
        mac(0, peer),
        u8::from(setup.sloppy)
    );
    let (scheduler, mode) = (setup.scheduler, setup.mode);
    let flags = match scheduler {
        "mh" => "\"mh-port\", \"mh-fallback\"",
        _ => "",
    };
    for vip in both(0, VIP) {
        for protocol in ["tcp", "udp"] {
            let vip = SocketAddr::new(vip, PORT);
            let written = writeln!(
                text,
                "[[service]]\nvip = \"{vip}\"\nprotocol = \"{protocol}\"\nscheduler = \"{scheduler}\"\n\
                 scheduler_flags = [{flags}]\nmode = \"{mode}\""
            );
            written.expect("a string takes everything");
            if setup.persistent {
                text.push_str("persistence = { timeout = \"60s\" }\n");
            }
            for number in [SERVER, setup.second()] {
                let rip = both(setup.inside(), number)
                    .into_iter()
                    .find(|rip| rip.is_ipv4() == vip.is_ipv4());
                let rip = SocketAddr::new(rip.expect("one of each family"), PORT);
                let written = writeln!(text, "[[service.server]]\nrip = \"{rip}\"");
                written.expect("a string takes everything");
            }
        }
    }
    text
}

pub fn vips(count: usize) -> Vec<SocketAddr> {
    let vips = both(0, VIP).into_iter().cycle().take(count);
    vips.map(|vip: IpAddr| SocketAddr::new(vip, PORT)).collect()
}

#[test]
fn a_backup_that_is_a_server_answers_what_the_master_gives_it_and_balances_none_of_it_again() {
    if !available() || !installed(&["keepalived"]) {
        return;
    }
    let pair = Pair::start(ALIKE);
    assert!(!pair.two.holds(&v4(0, VIP).to_string()));
    let steady = Steady::connections(&pair.client, &vips(24));
    steady.wait_for_answers(500);
    let outcomes = steady.finish();
    assert_eq!(lost(&outcomes).len(), 0, "{outcomes:?}");
    let conns = pair.one.lbctl("conns --count");
    assert_eq!(conns.trim(), "24");
    let of_two = pair
        .one
        .lbctl(&format!("conns --count --server {}", v4(0, TWO)));
    let of_two: u32 = of_two.trim().parse().expect("a number");
    assert!(
        (1..12).contains(&of_two),
        "{of_two}: both servers have conns in IPv4"
    );
    // What `two` was sent is its kernel's.
    let conns = pair.two.lbctl("conns --count");
    assert_eq!(conns.trim(), "0");
}

/// The master's plug is pulled under load; `two` then balances to itself, too.
#[test]
fn the_backup_takes_over_from_a_dead_master_and_connections_go_on() {
    if !available() || !installed(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::start(ALIKE);
    let connections = Steady::connections(&pair.client, &vips(24));
    let datagrams = Steady::datagrams(&pair.client, &vips(2));
    connections.wait_for_answers(500);
    pair.one.dies();
    pair.two.wait_until_it_holds(&v4(0, VIP).to_string());
    connections.wait_for_answers(1000);
    let (connections, datagrams) = (connections.finish(), datagrams.finish());
    println!(
        "gap: {:?} for datagrams, {:?} for connections; {} of {} connections lost",
        gap(&datagrams),
        gap(&connections),
        lost(&connections).len(),
        connections.len()
    );
    assert_eq!(lost(&connections).len(), 0, "{connections:?}");
    assert!(
        connections.iter().all(|outcome| outcome.answers > 25),
        "{connections:?}"
    );
    // Neighbours of both families were told, and none is left with the old MAC.
    for family in ["-4", "-6"] {
        let neighbours = pair
            .client
            .ip(&format!("{family} neighbour show"))
            .expect("neighbours");
        let vip = if family == "-4" {
            v4(0, VIP).to_string()
        } else {
            v6(0, VIP).to_string()
        };
        let line = neighbours
            .lines()
            .find(|line| line.starts_with(&format!("{vip} ")));
        assert!(
            line.is_some_and(|line| line.contains(&mac(0, TWO))),
            "{neighbours}"
        );
    }
}

/// lbd alone dies, or is told to stand by: keepalived notices, and the machine gives the address away.
#[test]
fn an_lbd_that_is_not_at_work_gives_its_addresses_away() {
    if !available() || !installed(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::start(ALIKE);
    pair.one.keep_quiet(&both(0, VIP));
    let under_load = |what: &str, pair: &mut Pair, change: fn(&mut Pair)| {
        let connections = Steady::connections(&pair.client, &vips(24));
        let datagrams = Steady::datagrams(&pair.client, &vips(2));
        connections.wait_for_answers(500);
        change(pair);
        connections.wait_for_answers(500);
        let (connections, datagrams) = (connections.finish(), datagrams.finish());
        println!(
            "{what}: gap {:?} for datagrams, {:?} for connections; {} of 24 lost",
            gap(&datagrams),
            gap(&connections),
            lost(&connections).len()
        );
        assert_eq!(lost(&connections).len(), 0, "{what}: {connections:?}");
    };
    under_load("standby", &mut pair, |pair| {
        pair.one.lbctl("standby");
        pair.two.wait_until_it_holds(&v4(0, VIP).to_string());
    });
    assert_eq!(pair.two.lbctl("health").trim(), "healthy");
    under_load("standby undone", &mut pair, |pair| {
        pair.one.lbctl("standby --undo");
        pair.one.wait_until_it_holds(&v4(0, VIP).to_string());
    });
    under_load("lbd killed", &mut pair, |pair| {
        let mut lbd = pair.one.lbd.take().expect("it runs");
        lbd.kill().expect("it ends");
        pair.two.wait_until_it_holds(&v4(0, VIP).to_string());
    });
    under_load("lbd started again", &mut pair, |pair| {
        pair.one.start_lbd(&config(ALIKE, TWO));
        pair.one.wait_until_it_holds(&v4(0, VIP).to_string());
    });
    under_load("lbd ended", &mut pair, |pair| {
        let mut lbd = pair.one.lbd.take().expect("it runs");
        assert!(lbd.terminate().expect("it ends").success());
        pair.two.wait_until_it_holds(&v4(0, VIP).to_string());
    });
}
