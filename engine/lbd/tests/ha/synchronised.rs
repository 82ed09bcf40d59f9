//! Conns that two balancers share by IPVS's protocol.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use lb_testkit::netns::available;

use crate::node::Node;
use crate::pair::{Pair, Setup, VIP, vips};
use crate::segment::{installed, v4};
use crate::steady::{Steady, gap, lost};

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 24;

/// The persistence templates: protocol, client, service, server.
fn templates(node: &Node) -> BTreeSet<String> {
    let lines = node.lbctl("ipvsadm -L -n -c");
    let template = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [protocol, _, _, client, service, server] = words[..] else {
            return None;
        };
        client
            .ends_with(":0")
            .then(|| format!("{protocol} {client} {service} {server}"))
    };
    lines.lines().filter_map(template).collect()
}

/// With `rr` no other balancer could know where a conn belongs, and without `sloppy_tcp` it takes none that it does not know.
fn goes_on(mode: &'static str, persistent: bool) {
    if !available() || !installed(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::start(Setup {
        mode,
        scheduler: "rr",
        sloppy: false,
        two_serves: false,
        persistent,
    });
    for (node, role) in [(&pair.one, "master"), (&pair.two, "backup")] {
        node.lbctl(&format!(
            "ipvsadm --start-daemon {role} --mcast-interface eth0 --syncid 7"
        ));
        assert!(node.lbctl("ipvsadm -L --daemon").starts_with(role));
    }
    let connections = Steady::connections(&pair.client, &vips(CONNECTIONS));
    let (told, templates_told) = (pair.one.conns(), templates(&pair.one));
    assert_eq!(told.len(), CONNECTIONS);
    // One for each family.
    assert_eq!(templates_told.len(), if persistent { 2 } else { 0 });
    let end = Instant::now() + LIMIT;
    while pair.two.conns() != told || templates(&pair.two) != templates_told {
        let found = (pair.two.conns(), templates(&pair.two));
        assert!(Instant::now() < end, "{found:?}");
        thread::sleep(Duration::from_millis(50));
    }
    pair.one.dies();
    pair.two.wait_until_it_holds(&v4(0, VIP).to_string());
    connections.wait_for_answers(1000);
    let outcomes = connections.finish();
    println!(
        "synchronised {mode}: gap {:?}, {} of {CONNECTIONS} lost",
        gap(&outcomes),
        lost(&outcomes).len()
    );
    assert_eq!(lost(&outcomes).len(), 0, "{outcomes:?}");
    pair.two.lbctl("ipvsadm --stop-daemon backup");
    assert_eq!(pair.two.lbctl("ipvsadm -L --daemon"), "");
}

#[test]
fn a_backup_that_was_told_of_conns_goes_on_with_them() {
    goes_on("dr", false);
}

#[test]
fn a_backup_goes_on_with_conns_whose_replies_come_through_it_and_knows_where_clients_belong() {
    goes_on("nat", true);
}

#[test]
fn a_backup_goes_on_with_conns_in_tunnels() {
    goes_on("tun", false);
}
