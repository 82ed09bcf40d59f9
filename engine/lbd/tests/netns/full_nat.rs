//! Whom servers see where both ends of a packet are replaced.

use std::net::IpAddr;
use std::process::Command;

use lb_testkit::netns::{Family, HttpTally, Topology, available, server_name, udp_requests};

use crate::rig::{Mode, Rig, UDP, WEB, service_in};

/// What a server says of its client.
fn seen_by_server(rig: &Rig, family: Family) -> (IpAddr, u16) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
        .args(["--max-time", "30"])
        .arg(format!("http://{}/who", service_in(family, WEB)));
    let answer = rig.lab.client.check_output(curl).expect("an answer");
    let (addr, port) = answer.split_once(' ').expect("address and port");
    (
        addr.parse().expect("an address"),
        port.parse().expect("a port"),
    )
}

#[test]
fn servers_see_a_local_address_in_fnat() {
    if !available() {
        return;
    }
    for topology in [Topology::TwoArmed, Topology::Routed] {
        let rig = Rig::start(topology, Mode::Fnat);
        for family in Family::BOTH {
            let mut ports = Vec::new();
            for _ in 0..6 {
                let (addr, port) = seen_by_server(&rig, family);
                assert_eq!(addr, family.local_address(topology));
                assert!(port >= 1024, "{port}");
                ports.push(port);
            }
            ports.sort_unstable();
            ports.dedup();
            // Three servers may be given the same ports, one server is given each once.
            assert!(ports.len() >= 2, "{ports:?}");
        }
        rig.finish();
    }
}

#[test]
fn servers_without_the_component_see_the_service_in_enat_and_are_answered_for() {
    if !available() {
        return;
    }
    let rig = Rig::start(Topology::TwoArmed, Mode::EnatAlone);
    for family in Family::BOTH {
        let (addr, port) = seen_by_server(&rig, family);
        assert_eq!(addr, family.vip());
        assert!(port >= 1024, "{port}");
        let tally = HttpTally::collect(&rig.lab.client, service_in(family, WEB), 600);
        let tally = tally.expect("curl");
        assert_eq!((tally.failures, tally.connections), (0, 600), "{tally:?}");
        let tally = udp_requests(&rig.lab.client, service_in(family, UDP), 60);
        let tally = tally.expect("sockets");
        let even = (0..3).map(|index| (server_name(index), 20)).collect();
        assert_eq!((tally.failures, tally.answers), (0, even));
    }
    rig.finish();
}
