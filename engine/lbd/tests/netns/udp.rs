//! Datagrams and their answers, in both address families.

use std::collections::BTreeMap;

use lb_testkit::netns::{
    Family, Topology, available, large_udp_request, server_name, udp_requests,
};

use crate::rig::{Mode, Rig, UDP, service_in};

const REQUESTS: u64 = 600;

#[test]
fn datagrams_are_answered_through_two_armed_nat() {
    datagrams_are_answered(Topology::TwoArmed, Mode::Nat);
}

#[test]
fn datagrams_are_answered_through_one_armed_nat() {
    datagrams_are_answered(Topology::OneArmed, Mode::Nat);
}

#[test]
fn datagrams_are_answered_through_two_armed_dr() {
    datagrams_are_answered(Topology::TwoArmed, Mode::Dr);
}

#[test]
fn datagrams_are_answered_through_one_armed_dr() {
    datagrams_are_answered(Topology::OneArmed, Mode::Dr);
}

#[test]
fn datagrams_are_answered_through_two_armed_fnat() {
    datagrams_are_answered(Topology::TwoArmed, Mode::Fnat);
}

fn datagrams_are_answered(topology: Topology, mode: Mode) {
    if !available() {
        return;
    }
    let rig = Rig::start(topology, mode);
    let servers = rig.lab.servers.len();
    let even: BTreeMap<String, u64> = (0..servers)
        .map(|index| (server_name(index), REQUESTS / servers as u64))
        .collect();
    for family in Family::BOTH {
        let service = service_in(family, UDP);
        let tally = udp_requests(&rig.lab.client, service, REQUESTS).expect("sockets");
        assert_eq!(
            (tally.failures, &tally.answers),
            (0, &even),
            "{}",
            rig.lbd.log()
        );
    }
    rig.finish();
}

#[test]
fn datagrams_in_fragments_are_answered_in_fragments() {
    if !available() {
        return;
    }
    for mode in [Mode::Nat, Mode::Dr, Mode::Fnat] {
        let rig = Rig::start(Topology::TwoArmed, mode);
        for family in Family::BOTH {
            let service = service_in(family, UDP);
            for len in [1500, 5000, 60_000] {
                let answer = large_udp_request(&rig.lab.client, service, len);
                let name = answer.unwrap_or_else(|error| {
                    panic!("{mode:?} {family:?} {len}: {error}\n{}", rig.lbd.log())
                });
                assert!(name.starts_with("server-"), "{name}");
            }
        }
        rig.finish();
    }
}
