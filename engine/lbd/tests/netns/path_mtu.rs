//! A path behind the balancer that takes less than its interfaces: whoever sends learns of it, whatever is around the
//! packets on their way.

use lb_testkit::netns::{Family, Topology, WholeDatagrams, available};

use crate::rig::{Mode, Rig, SINK, UDP, service_in};
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

/// What every link here carries.
const WIDE: usize = 1500;
/// Bounds a failure only: two links may be too narrow, and an error may come late and be about the datagram before.
const TRIES: usize = 10;
/// Any path takes it.
const SMALL: usize = 100;
/// Of IPv4 and IPv6, and of UDP.
const HEADERS: [usize; 2] = [20 + 8, 40 + 8];

#[test]
fn clients_of_datagrams_learn_it_too_and_send_smaller_ones() {
    if !available() {
        return;
    }
    for (mode, added) in MODES {
        let rig = Rig::start(Topology::Routed, mode);
        rig.lab.narrow(NARROW).expect("routes");
        for (family, (added, headers)) in
            Family::BOTH.into_iter().zip(added.into_iter().zip(HEADERS))
        {
            let service = service_in(family, UDP);
            let client = WholeDatagrams::to(&rig.lab.client, service).expect("a socket");
            let request = |len| {
                client.request(len).unwrap_or_else(|error| {
                    panic!("{mode:?} {family} {len}: {error}\n{}", rig.lbd.log())
                })
            };
            // ENAT tells of the client in the first three, which makes them longer.
            for _ in 0..3 {
                assert!(request(SMALL).is_some(), "{mode:?} {family}");
            }
            // A tunnel's packet fits neither the balancer's own link nor the path behind it, which is told one by one.
            let mut mtu = WIDE;
            let mut name = None;
            for _ in 0..TRIES {
                name = request(mtu - headers);
                if name.is_some() {
                    break;
                }
                mtu = learned_mtu(&rig, family).expect("the client was told");
            }
            assert!(name.is_some(), "{mode:?} {family} {mtu}");
            assert_eq!(mtu, NARROW - added, "{mode:?} {family}");
            assert_eq!(request(mtu - headers + 1), None, "{mode:?} {family}");
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
