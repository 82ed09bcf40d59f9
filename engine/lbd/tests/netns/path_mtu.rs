//! A path behind the balancer that takes less than its interfaces: whoever sends learns of it, whatever is around the
//! packets on their way.

use lb_testkit::netns::{Family, Topology, available};

use crate::rig::{Mode, Rig, SINK, service_in};
use crate::transfers::both_ways;

/// What the router lets through to the servers. No less than what every link carries of IPv6 (1280, RFC 8200 section 5) in
/// the largest tunnel here (52): below that a tunnel's packets would go in fragments, which `lbrs` leaves alone.
const NARROW: usize = 1340;
const MEGABYTES: u64 = 10;

/// What a mode adds to a client's packets of each family. DR is not here: its servers are on the balancer's own segment, with
/// no router that could narrow the way to them.
const MODES: [(Mode, [usize; 2]); 6] = [
    (Mode::Nat, [0, 0]),
    (Mode::Fnat, [0, 0]),
    (Mode::Enat, [0, 0]),
    (Mode::Tun, [20, 40]),
    (Mode::Gue, [40 + 12, 20 + 12]),
    (Mode::Gre, [20 + 8, 40 + 8]),
];

#[test]
fn clients_learn_what_a_narrow_path_to_the_servers_takes() {
    if !available() {
        return;
    }
    for (mode, added) in MODES {
        let rig = Rig::start(Topology::Routed, mode);
        rig.lab.narrow(NARROW).expect("routes");
        for (family, added) in Family::BOTH.into_iter().zip(added) {
            both_ways(&rig, family, MEGABYTES);
            let learned = learned_mtu(&rig, family);
            assert_eq!(
                learned,
                Some(NARROW - added),
                "{mode:?} {family}\n{}",
                rig.lbd.log()
            );
        }
        rig.finish();
    }
}

/// The path MTU to the service that the client's kernel goes by.
fn learned_mtu(rig: &Rig, family: Family) -> Option<usize> {
    let vip = service_in(family, SINK).ip();
    let route = rig
        .lab
        .client
        .ip(&format!("route get {vip}"))
        .expect("a route");
    let mut words = route.split_whitespace();
    words.find(|word| *word == "mtu")?;
    words.next()?.parse().ok()
}
