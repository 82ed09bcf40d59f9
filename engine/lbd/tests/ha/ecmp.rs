//! Several balancers, one address, all at work: BIRD announces it for each of them to a router that spreads flows by hash.
//!
//! ```text
//!  client ── router ──┤   ├── node 1 to 4   lbd and BIRD; the VIP is on lbd's own device, lbd0
//!                     │   ├── server 1, 2   DR: they answer by way of the router
//! ```
//!
//! In full NAT they answer the node that asked, at a local address that is this node's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use lb_testkit::netns::{LineServer, Namespace, Process, UdpServer, available};

use crate::node::Node;
use crate::segment::{both, connect, hold, installed, v4, v6};
use crate::steady::{Steady, gap, lost};

const CLIENT: u8 = 1;
const ROUTER: u8 = 254;
const FIRST_NODE: u8 = 11;
const SERVERS: [u8; 2] = [21, 22];
/// The segment of nodes and servers.
const INSIDE: u8 = 1;
/// A net that is nowhere.
const ANYCAST: u8 = 9;
const VIP: u8 = 100;
/// A node's local address is so far above its own.
const LOCAL: u8 = 100;
const PORT: u16 = 7;
/// The node that comes last.
const FOURTH: usize = 3;
/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

struct Site {
    nodes: Vec<Node>,
    client: Namespace,
    router: Node,
    switches: [Namespace; 2],
    _servers: Vec<(Namespace, Vec<LineServer>, Vec<UdpServer>)>,
}

impl Site {
    fn start(count: u8, mode: &str) -> Site {
        let client = Namespace::new("client").expect("a namespace");
        let mut router = Node::new("router");
        let numbers = FIRST_NODE..FIRST_NODE + count;
        let nodes: Vec<Node> = numbers
            .clone()
            .map(|number| Node::new(&format!("node-{number}")))
            .collect();
        let servers =
            SERVERS.map(|number| Namespace::new(&format!("server-{number}")).expect("a namespace"));
        let outside = [
            (&client, "eth0", CLIENT),
            (&router.namespace, "eth0", ROUTER),
        ];
        let mut inside = vec![(&router.namespace, "eth1", ROUTER)];
        inside.extend(
            nodes
                .iter()
                .zip(numbers.clone())
                .map(|(node, number)| (&node.namespace, "eth0", number)),
        );
        inside.extend(
            servers
                .iter()
                .zip(SERVERS)
                .map(|(server, number)| (server, "eth0", number)),
        );
        let switches = [connect(0, &outside), connect(INSIDE, &inside)];
        lead(&client, 0);
        for key in [
            "net/ipv4/ip_forward",
            "net/ipv6/conf/all/forwarding",
            "net/ipv4/fib_multipath_hash_policy",
            "net/ipv6/fib_multipath_hash_policy",
        ] {
            router
                .namespace
                .sysctl(key, "1")
                .expect("a switch of the kernel's");
        }
        let serve = |(server, number): (Namespace, u8)| {
            lead(&server, INSIDE);
            let addresses = match mode {
                "fnat" => both(INSIDE, number),
                _ => both(ANYCAST, VIP),
            };
            if mode == "dr" {
                hold(&server, &addresses);
            }
            let addresses = addresses.map(|address| SocketAddr::new(address, PORT));
            let lines = |address| LineServer::start(&server, address).expect("a server");
            let datagrams =
                |address| UdpServer::start(&server, server.label(), address).expect("a server");
            let lines = addresses.iter().copied().map(lines).collect();
            let datagrams = addresses.into_iter().map(datagrams).collect();
            (server, lines, datagrams)
        };
        let servers = servers.into_iter().zip(SERVERS).map(serve).collect();
        router.start_bird(&v4(0, ROUTER).to_string(), &router_s_bird(numbers.clone()));
        let mut site = Site {
            nodes,
            client,
            router,
            switches,
            _servers: servers,
        };
        for (node, number) in site.nodes.iter_mut().zip(numbers) {
            // In full NAT the servers' answers come through the node. In DR nothing of the node's should: a kernel that gets
            // a packet to the VIP while lbd goes would now refuse it.
            lead(&node.namespace, INSIDE);
            node.start_lbd(&config(mode, number));
            node.start_bird(&v4(INSIDE, number).to_string(), &node_s_bird(number));
        }
        site.wait_for_ways(count.into());
        site
    }

    /// How many ways the router has to the VIP of each family.
    fn ways(&self) -> [usize; 2] {
        both(ANYCAST, VIP).map(|vip| {
            let family = if vip.is_ipv4() { "-4" } else { "-6" };
            let routes = self
                .router
                .namespace
                .ip(&format!("{family} route show {vip}"));
            routes.expect("routes").matches(" via ").count()
        })
    }

    fn wait_for_ways(&self, count: usize) {
        let end = Instant::now() + LIMIT;
        while self.ways() != [count; 2] {
            let logs: Vec<_> = self
                .nodes
                .iter()
                .filter_map(|node| node.daemon.as_ref())
                .map(Process::log)
                .collect();
            assert!(
                Instant::now() < end,
                "{:?} in place of {count}: {logs:#?}",
                self.ways()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Which nodes have a conn of each client's end, one after another if it has moved, and to which server.
    fn conns(&self) -> BTreeMap<String, BTreeMap<usize, String>> {
        let mut conns: BTreeMap<String, BTreeMap<usize, String>> = BTreeMap::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if node.lbd.is_none() {
                continue;
            }
            for (client, server) in node.conns() {
                conns.entry(client).or_default().insert(number, server);
            }
        }
        conns
    }
}

/// Gives a host the router as its way out.
fn lead(host: &Namespace, net: u8) {
    for gateway in both(net, ROUTER) {
        let family = if gateway.is_ipv4() { "-4" } else { "-6" };
        host.ip(&format!("{family} route add default via {gateway}"))
            .expect("a route");
    }
}

fn vips(count: usize) -> Vec<SocketAddr> {
    let vips = both(ANYCAST, VIP).into_iter().cycle().take(count);
    vips.map(|vip| SocketAddr::new(vip, PORT)).collect()
}

/// That of a node: in DR all have the same.
fn config(mode: &str, number: u8) -> String {
    let sloppy = u8::from(mode == "dr");
    let mut text = format!(
        "[engine]\ninterfaces = [\"eth0\"]\ncapacity = 10000\n[ipvs]\nsloppy_tcp = {sloppy}\n"
    );
    for vip in vips(2) {
        let is_of_family = |address: &IpAddr| address.is_ipv4() == vip.is_ipv4();
        for protocol in ["tcp", "udp"] {
            let written = writeln!(
                text,
                "[[service]]\nvip = \"{vip}\"\nprotocol = \"{protocol}\"\nscheduler = \"mh\"\n\
                 scheduler_flags = [\"mh-port\", \"mh-fallback\"]\nmode = \"{mode}\"\nvip_interface = \"lbd0\""
            );
            written.expect("a string takes everything");
            if mode == "fnat" {
                let local = both(INSIDE, LOCAL + number).into_iter().find(is_of_family);
                let local = local.expect("one of each family");
                let written = writeln!(
                    text,
                    "local_addresses = [\"{local}\"]\nlocal_interface = \"eth0\""
                );
                written.expect("a string takes everything");
            }
            for number in SERVERS {
                let rip = both(INSIDE, number).into_iter().find(is_of_family);
                let rip = SocketAddr::new(rip.expect("one of each family"), PORT);
                writeln!(text, "[[service.server]]\nrip = \"{rip}\"")
                    .expect("a string takes everything");
            }
        }
    }
    text
}

const BFD: &str = "protocol device {}
protocol bfd { interface \"eth*\" { interval 100 ms; multiplier 3; }; }\n";

/// Announces what lbd has put on its device.
fn node_s_bird(number: u8) -> String {
    let session = |name: &str, family: &str, own: String, router: String| {
        format!(
            "protocol bgp {name} {{
               local {own} as 65001; neighbor {router} as 65000;
               bfd on; hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
               {family} {{ import none; export where source = RTS_DEVICE; }};
             }}\n"
        )
    };
    [
        BFD.to_owned(),
        "protocol direct { ipv4; ipv6; interface \"lbd0\"; }\n".to_owned(),
        session(
            "four",
            "ipv4",
            v4(INSIDE, number).to_string(),
            v4(INSIDE, ROUTER).to_string(),
        ),
        session(
            "six",
            "ipv6",
            v6(INSIDE, number).to_string(),
            v6(INSIDE, ROUTER).to_string(),
        ),
    ]
    .concat()
}

/// Takes all ways that are equally good.
fn router_s_bird(nodes: std::ops::Range<u8>) -> String {
    let mut text = BFD.to_owned();
    for family in ["ipv4", "ipv6"] {
        let written = writeln!(
            text,
            "protocol kernel {{ {family} {{ export where source = RTS_BGP; }}; merge paths on; }}"
        );
        written.expect("a string takes everything");
    }
    for number in nodes {
        for (family, own, node) in [
            (
                "ipv4",
                v4(INSIDE, ROUTER).to_string(),
                v4(INSIDE, number).to_string(),
            ),
            (
                "ipv6",
                v6(INSIDE, ROUTER).to_string(),
                v6(INSIDE, number).to_string(),
            ),
        ] {
            let written = writeln!(
                text,
                "protocol bgp {family}_{number} {{
                   local {own} as 65000; neighbor {node} as 65001;
                   bfd on; hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
                   {family} {{ import all; export none; }};
                 }}"
            );
            written.expect("a string takes everything");
        }
    }
    text
}

#[test]
fn whichever_of_four_nodes_goes_however_connections_stay_with_their_servers() {
    if !available() || !installed(&["bird"]) {
        return;
    }
    let mut site = Site::start(4, "dr");
    site.nodes[FOURTH].lbctl("standby");
    site.wait_for_ways(3);
    let connections = Steady::connections(&site.client, &vips(64));
    let datagrams = Steady::datagrams(&site.client, &vips(16));
    connections.wait_for_answers(500);
    let before = site.conns();
    assert_eq!(before.len(), 64);
    let nodes: BTreeSet<_> = before.values().flat_map(BTreeMap::keys).collect();
    assert!(nodes.len() > 1, "the router spreads flows: {before:?}");

    // One more comes.
    site.nodes[FOURTH].lbctl("standby --undo");
    site.wait_for_ways(4);
    connections.wait_for_answers(1000);
    let after = site.conns();
    let came = |nodes: &BTreeMap<usize, String>| nodes.contains_key(&FOURTH);
    let came = after.values().filter(|nodes| came(nodes)).count();
    let went_elsewhere = before.iter().filter(|(client, old)| {
        let mut now = after[*client].keys();
        now.any(|node| *node != FOURTH && !old.contains_key(node))
    });
    println!(
        "a fourth node comes: {came} of 64 connections came to it, ideally 16; {} to another of the three, ideally none",
        went_elsewhere.count()
    );
    assert!(came > 0, "{after:?}");

    // Told to go: it is not announced any more, and comes back.
    site.nodes[0].lbctl("standby");
    site.wait_for_ways(3);
    connections.wait_for_answers(500);
    site.nodes[0].lbctl("standby --undo");
    site.wait_for_ways(4);
    connections.wait_for_answers(500);

    // Its cable is cut, and mended.
    let port = format!("port{FIRST_NODE}");
    let cable = |state: &str| {
        let line = format!("link set {port} {state}");
        site.switches[1].ip(&line).expect("a cable");
    };
    cable("down");
    site.wait_for_ways(3);
    connections.wait_for_answers(500);
    cable("up");
    site.wait_for_ways(4);
    connections.wait_for_answers(500);

    // Killed: its device, and with it the address, goes with it.
    let mut killed = site.nodes[1].lbd.take().expect("it runs");
    killed.kill().expect("it ends");
    site.wait_for_ways(3);
    connections.wait_for_answers(500);

    // Ended as the system ends it.
    let mut ended = site.nodes[2].lbd.take().expect("it runs");
    assert!(ended.terminate().expect("it ends").success());
    site.wait_for_ways(2);
    connections.wait_for_answers(500);

    let (connections, datagrams) = (connections.finish(), datagrams.finish());
    println!(
        "told to go, cut off, killed, ended: gap {:?} for datagrams, {:?} for connections",
        gap(&datagrams),
        gap(&connections)
    );
    assert_eq!(lost(&connections).len(), 0, "{connections:?}");
    let moved = site.conns().into_iter().filter(|(client, nodes)| {
        let old = before.get(client).and_then(|nodes| nodes.values().next());
        nodes.values().any(|server| Some(server) != old)
    });
    assert_eq!(moved.count(), 0, "conns that changed their server");
}

#[test]
fn a_dead_node_of_two_or_four_is_noticed_and_no_connection_is_lost() {
    if !available() || !installed(&["bird"]) {
        return;
    }
    for count in [2, 4] {
        let mut site = Site::start(count, "dr");
        let connections = Steady::connections(&site.client, &vips(64));
        let datagrams = Steady::datagrams(&site.client, &vips(16));
        connections.wait_for_answers(500);
        let before = site.conns();
        site.nodes[0].dies();
        site.wait_for_ways(usize::from(count) - 1);
        connections.wait_for_answers(1000);
        let (connections, datagrams) = (connections.finish(), datagrams.finish());
        let after = site.conns();
        let of_dead = before.values().filter(|nodes| nodes.contains_key(&0));
        let of_dead = of_dead.count();
        let moved = before.iter().filter(|(client, old)| {
            let now = after.get(*client).into_iter().flat_map(BTreeMap::keys);
            now.into_iter().any(|node| !old.contains_key(node))
        });
        println!(
            "one of {count} dead: {of_dead} of {} connections were its own, {} came to another node; gap {:?} for \
             datagrams, {:?} for connections; {} lost",
            before.len(),
            moved.count(),
            gap(&datagrams),
            gap(&connections),
            lost(&connections).len(),
        );
        assert_eq!(lost(&connections).len(), 0, "{connections:?}");
    }
}

/// In full NAT a connection is its node's, whose local address the server knows.
#[test]
fn in_full_nat_a_dead_node_takes_its_own_connections_along_and_no_other() {
    if !available() || !installed(&["bird"]) {
        return;
    }
    let mut site = Site::start(2, "fnat");
    let connections = Steady::connections(&site.client, &vips(64));
    connections.wait_for_answers(500);
    let before = site.conns();
    let of_dead: BTreeSet<_> = before
        .iter()
        .filter(|(_, nodes)| nodes.contains_key(&0))
        .map(|(client, _)| client.clone())
        .collect();
    assert!((1..64).contains(&of_dead.len()), "{before:?}");
    site.nodes[0].dies();
    site.wait_for_ways(1);
    connections.wait_for_answers(1000);
    let anew = Steady::connections(&site.client, &vips(16));
    anew.wait_for_answers(500);
    assert_eq!(lost(&anew.finish()).len(), 0);
    let outcomes = connections.finish();
    let lost = lost(&outcomes);
    let failures: BTreeSet<_> = lost.iter().filter_map(|o| o.failure.clone()).collect();
    let lost: BTreeSet<_> = lost.iter().map(|o| o.client.to_string()).collect();
    let kept: Vec<_> = outcomes
        .into_iter()
        .filter(|o| o.failure.is_none())
        .collect();
    println!(
        "full NAT, one of 2 dead: {} of 64 connections were its own and lost ({failures:?}), {} were not and live; gap {:?}",
        of_dead.len(),
        kept.len(),
        gap(&kept)
    );
    assert_eq!(lost, of_dead);
}
