//! One balancer whose servers fail under traffic, and are asked whether they are well.
//!
//! ```text
//!  client ──┤   ├── node             lbd; the VIP
//!           │   ├── server 21 to 23  DR: nginx, which answers directly
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_testkit::netns::{Namespace, Scratch, WebServer, available};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::node::Node;
use crate::segment::{both, connect, hold};
use crate::steady::{Outcome, Steady, gap, lost};

const CLIENT: u8 = 1;
const NODE: u8 = 11;
const SERVERS: [u8; 3] = [21, 22, 23];
const VIP: u8 = 100;
const PORT: u16 = 80;
/// With three servers four of each family at each.
const CONNECTIONS: usize = 24;
/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

struct Yard {
    node: Node,
    client: Namespace,
    servers: [Namespace; 3],
    webs: [Option<WebServer>; 3],
    scratch: Scratch,
    _switch: Namespace,
}

impl Yard {
    fn start() -> Yard {
        let (client, node) = (
            Namespace::new("client").expect("a namespace"),
            Node::new("node"),
        );
        let servers =
            SERVERS.map(|number| Namespace::new(&format!("server-{number}")).expect("a namespace"));
        let mut hosts = vec![(&client, "eth0", CLIENT), (&node.namespace, "eth0", NODE)];
        let numbered = servers.iter().zip(SERVERS);
        hosts.extend(numbered.map(|(server, number)| (server, "eth0", number)));
        let switch = connect(0, &hosts);
        for server in &servers {
            hold(server, &both(0, VIP));
        }
        let mut yard = Yard {
            node,
            client,
            servers,
            webs: [None, None, None],
            scratch: Scratch::new().expect("a folder"),
            _switch: switch,
        };
        for index in 0..SERVERS.len() {
            yard.is_well_after(index, 0);
            yard.start_web(index);
        }
        yard.node.start_lbd(&config());
        yard
    }

    fn start_web(&mut self, index: usize) {
        let server = &self.servers[index];
        // One that was killed has left its process id there.
        let _ = std::fs::remove_file(self.scratch.path().join(format!("{}.pid", server.label())));
        let web = WebServer::start(server, server.label(), PORT, &self.scratch);
        self.webs[index] = Some(web.expect("nginx"));
    }

    fn signal(&self, index: usize, signal: Signal) {
        let web = self.webs[index].as_ref().expect("it runs");
        web.signal(signal).expect("it runs");
    }

    /// How many kilobytes, that is seconds, a server speaks before it says that it is well.
    fn is_well_after(&self, index: usize, kilobytes: usize) {
        let name = format!("{}-health", self.servers[index].label());
        let page = format!("{}well\n", ".".repeat(1000 * kilobytes));
        self.scratch.write(&name, page).expect("a file");
    }

    /// A server's names in both services.
    fn rips(index: usize) -> [String; 2] {
        both(0, SERVERS[index]).map(|rip| SocketAddr::new(rip, PORT).to_string())
    }

    fn wait_for(&self, index: usize, state: &str) {
        let end = Instant::now() + LIMIT;
        let rips = Yard::rips(index);
        loop {
            let checks: Value =
                serde_json::from_str(&self.node.lbctl("checks --json")).expect("JSON");
            let services = checks.as_array().expect("a list").iter();
            let servers = services.filter_map(|service| service["servers"].as_array());
            let its = servers
                .flatten()
                .filter(|server| rips.iter().any(|rip| server["server"] == *rip));
            if its.filter(|server| server["state"] == state).count() == 2 {
                return;
            }
            assert!(Instant::now() < end, "not {state}: {checks}");
        }
    }

    /// Breaks a server and mends it under load: it gets no new connection as long as it is down, and no connection of
    /// another's is lost. Returns how those that it had fared.
    fn under_load(
        &mut self,
        what: &str,
        index: usize,
        breaks: fn(&mut Yard, usize),
        mends: fn(&mut Yard, usize),
    ) -> Vec<Outcome> {
        let connections = Steady::pages(&self.client, &vips(CONNECTIONS));
        connections.wait_for_answers(500);
        breaks(self, index);
        self.wait_for(index, "down");
        connections.wait_for_answers(500);
        let anew = Steady::pages(&self.client, &vips(CONNECTIONS));
        anew.wait_for_answers(500);
        mends(self, index);
        self.wait_for(index, "up");
        connections.wait_for_answers(500);
        let rips = Yard::rips(index);
        let conns = self.node.conns().into_iter();
        let its: BTreeSet<String> = conns
            .filter(|(_, server)| rips.contains(server))
            .map(|(client, _)| client)
            .collect();
        let (anew, all) = (anew.finish(), connections.finish());
        assert_eq!(lost(&anew).len(), 0, "{what}: {anew:?}");
        let at_it = anew.iter().filter(|o| its.contains(&o.client.to_string()));
        assert_eq!(
            at_it.count(),
            0,
            "{what}: new connections of a server that is down"
        );
        let (own, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|outcome| its.contains(&outcome.client.to_string()));
        println!(
            "server {what}: {} of its {} connections lost, gap {:?}; {} of the {} others, gap {:?}; of {} new ones {:?}",
            lost(&own).len(),
            own.len(),
            gap(&own),
            lost(&others).len(),
            others.len(),
            gap(&others),
            anew.len(),
            gap(&anew),
        );
        assert!((1..CONNECTIONS).contains(&own.len()), "{what}: {own:?}");
        assert_eq!(lost(&others).len(), 0, "{what}: {others:?}");
        own
    }
}

fn vips(count: usize) -> Vec<SocketAddr> {
    let vips = both(0, VIP).into_iter().cycle().take(count);
    vips.map(|vip| SocketAddr::new(vip, PORT)).collect()
}

fn config() -> String {
    let mut text = "[engine]\ninterfaces = [\"eth0\"]\ncapacity = 10000\n".to_owned();
    for vip in both(0, VIP) {
        text += &format!(
            "[[service]]\nvip = \"{}\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\nmode = \"dr\"\n\
             vip_interface = \"eth0\"\n",
            SocketAddr::new(vip, PORT)
        );
        for number in SERVERS {
            let mut rips = both(0, number).into_iter();
            let rip = rips.find(|rip| rip.is_ipv4() == vip.is_ipv4());
            let rip = SocketAddr::new(rip.expect("one of each family"), PORT);
            text += &format!("[[service.server]]\nrip = \"{rip}\"\n");
        }
        text += "[service.check]\ntype = \"http\"\npath = \"/slow/health\"\nbody = \"well\"\ninterval = \"100ms\"\n\
                 timeout = \"1s\"\nfall = 2\ninitial = \"down\"\ndamping = \"1h\"\n";
    }
    text
}

#[test]
fn whatever_a_server_does_connections_of_the_others_live() {
    if !available() {
        return;
    }
    let mut yard = Yard::start();
    (0..SERVERS.len()).for_each(|index| yard.wait_for(index, "up"));

    let own = yard.under_load(
        "slow to say that it is well",
        0,
        |yard, index| yard.is_well_after(index, 8),
        |yard, index| yard.is_well_after(index, 0),
    );
    assert_eq!(lost(&own).len(), 0, "{own:?}");

    let own = yard.under_load(
        "frozen",
        1,
        |yard, index| yard.signal(index, Signal::SIGSTOP),
        |yard, index| yard.signal(index, Signal::SIGCONT),
    );
    assert_eq!(lost(&own).len(), 0, "{own:?}");

    let own = yard.under_load(
        "killed",
        2,
        |yard, index| yard.webs[index] = None,
        Yard::start_web,
    );
    assert_eq!(lost(&own).len(), own.len(), "{own:?}");

    let own = yard.under_load(
        "killed time and again",
        2,
        |yard, index| {
            for _ in 0..2 {
                yard.webs[index] = None;
                yard.wait_for(index, "down");
                yard.start_web(index);
                yard.wait_for(index, "up");
            }
            yard.webs[index] = None;
        },
        Yard::start_web,
    );
    assert_eq!(lost(&own).len(), own.len(), "{own:?}");
}
