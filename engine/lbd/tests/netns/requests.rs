//! Short HTTP connections: everybody gets an answer, every server its share.

use lb_testkit::netns::{Family, HttpTally, Topology, available, server_name};

use crate::rig::{Mode, Rig, WEB, service_in};

const REQUESTS: u64 = 10_000;

#[test]
fn ten_thousand_connections_through_two_armed_nat() {
    ten_thousand_connections(Topology::TwoArmed, Mode::Nat, Family::V4);
}

#[test]
fn ten_thousand_connections_through_two_armed_nat_in_ipv6() {
    ten_thousand_connections(Topology::TwoArmed, Mode::Nat, Family::V6);
}

#[test]
fn ten_thousand_connections_through_one_armed_nat() {
    ten_thousand_connections(Topology::OneArmed, Mode::Nat, Family::V4);
}

#[test]
fn ten_thousand_connections_through_two_armed_dr() {
    ten_thousand_connections(Topology::TwoArmed, Mode::Dr, Family::V4);
}

#[test]
fn ten_thousand_connections_through_one_armed_dr() {
    ten_thousand_connections(Topology::OneArmed, Mode::Dr, Family::V4);
}

#[test]
fn ten_thousand_connections_through_one_armed_dr_in_ipv6() {
    ten_thousand_connections(Topology::OneArmed, Mode::Dr, Family::V6);
}

#[test]
fn ten_thousand_connections_through_two_armed_fnat() {
    ten_thousand_connections(Topology::TwoArmed, Mode::Fnat, Family::V4);
}

#[test]
fn ten_thousand_connections_through_one_armed_fnat_in_ipv6() {
    ten_thousand_connections(Topology::OneArmed, Mode::Fnat, Family::V6);
}

#[test]
fn ten_thousand_connections_through_enat_across_a_router() {
    ten_thousand_connections(Topology::Routed, Mode::Enat, Family::V4);
}

#[test]
fn ten_thousand_connections_through_tun_across_a_router() {
    ten_thousand_connections(Topology::Routed, Mode::Tun, Family::V4);
}

#[test]
fn ten_thousand_connections_through_one_armed_tun_in_ipv6() {
    ten_thousand_connections(Topology::OneArmed, Mode::Tun, Family::V6);
}

#[test]
fn ten_thousand_connections_of_ipv4_through_gue_in_ipv6() {
    ten_thousand_connections(Topology::TwoArmed, Mode::Gue, Family::V4);
}

fn ten_thousand_connections(topology: Topology, mode: Mode, family: Family) {
    if !available() {
        return;
    }
    let rig = Rig::start(topology, mode);
    let web = service_in(family, WEB);
    let tally = HttpTally::collect(&rig.lab.client, web, REQUESTS).expect("curl");
    let servers = rig.lab.servers.len() as u64;
    let log = rig.finish();
    assert_eq!(
        (tally.failures, tally.connections),
        (0, REQUESTS),
        "{tally:?}\n{log}"
    );
    assert_even(&tally, servers, &log);
}

/// Round robin: no server has more than one request more than another.
fn assert_even(tally: &HttpTally, servers: u64, log: &str) {
    let share = REQUESTS / servers;
    for index in 0..servers as usize {
        let count = tally.answers.get(&server_name(index)).copied().unwrap_or(0);
        assert!((share..=share + 1).contains(&count), "{tally:?}\n{log}");
    }
}
