//! Short HTTP connections: everybody gets an answer, every server its share.

use lb_testkit::netns::{HttpTally, Topology, available, server_name};

use crate::rig::{Mode, Rig, web_url};

const REQUESTS: u64 = 10_000;

#[test]
fn ten_thousand_connections_through_two_armed_nat() {
    ten_thousand_connections(Topology::TwoArmed, Mode::Nat);
}

#[test]
fn ten_thousand_connections_through_one_armed_nat() {
    ten_thousand_connections(Topology::OneArmed, Mode::Nat);
}

#[test]
fn ten_thousand_connections_through_two_armed_dr() {
    ten_thousand_connections(Topology::TwoArmed, Mode::Dr);
}

#[test]
fn ten_thousand_connections_through_one_armed_dr() {
    ten_thousand_connections(Topology::OneArmed, Mode::Dr);
}

fn ten_thousand_connections(topology: Topology, mode: Mode) {
    if !available() {
        return;
    }
    let rig = Rig::start(topology, mode);
    let tally = HttpTally::collect(&rig.lab.client, &web_url(), REQUESTS).expect("curl");
    assert_eq!(tally.failures, 0, "{tally:?}\n{}", rig.lbd.log());
    assert_eq!(tally.connections, REQUESTS, "{tally:?}");
    assert_even(&tally, rig.lab.servers.len() as u64);
    rig.finish();
}

/// Round robin: no server has more than one request more than another.
fn assert_even(tally: &HttpTally, servers: u64) {
    let share = REQUESTS / servers;
    for index in 0..servers as usize {
        let count = tally.answers.get(&server_name(index)).copied().unwrap_or(0);
        assert!((share..=share + 1).contains(&count), "{tally:?}");
    }
    assert_eq!(tally.answers.values().sum::<u64>(), REQUESTS, "{tally:?}");
}
