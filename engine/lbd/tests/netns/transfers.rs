//! Large transfers arrive as they were sent.
//!
//! `LB_TRANSFER_MEGABYTES` says how much goes each way in place of what a test says.

use std::fs::File;
use std::io::{self, Read};
use std::process::Command;

use lb_testkit::netns::{Family, SinkServer, Topology, available, sha256};

use crate::rig::{Mode, Rig, SINK, WEB, service_in};

#[test]
fn a_gigabyte_through_two_armed_nat() {
    transfer(1000, Topology::TwoArmed, Mode::Nat, Family::V4);
}

#[test]
fn a_hundred_megabytes_through_two_armed_nat_in_ipv6() {
    transfer(100, Topology::TwoArmed, Mode::Nat, Family::V6);
}

#[test]
fn a_hundred_megabytes_through_one_armed_nat() {
    transfer(100, Topology::OneArmed, Mode::Nat, Family::V4);
}

#[test]
fn a_hundred_megabytes_through_two_armed_dr() {
    transfer(100, Topology::TwoArmed, Mode::Dr, Family::V4);
}

#[test]
fn a_hundred_megabytes_through_one_armed_dr_in_ipv6() {
    transfer(100, Topology::OneArmed, Mode::Dr, Family::V6);
}

#[test]
fn a_hundred_megabytes_through_fnat_across_a_router() {
    transfer(100, Topology::Routed, Mode::Fnat, Family::V4);
}

#[test]
fn a_hundred_megabytes_through_two_armed_fnat_in_ipv6() {
    transfer(100, Topology::TwoArmed, Mode::Fnat, Family::V6);
}

#[test]
fn a_hundred_megabytes_through_enat_across_a_router() {
    transfer(100, Topology::Routed, Mode::Enat, Family::V4);
}

#[test]
fn a_hundred_megabytes_through_two_armed_enat_in_ipv6() {
    transfer(100, Topology::TwoArmed, Mode::Enat, Family::V6);
}

/// What the client sends is too big for the tunnel until it is told so.
#[test]
fn a_hundred_megabytes_through_tun_across_a_router() {
    transfer(100, Topology::Routed, Mode::Tun, Family::V4);
}

#[test]
fn a_hundred_megabytes_through_two_armed_tun_in_ipv6() {
    transfer(100, Topology::TwoArmed, Mode::Tun, Family::V6);
}

#[test]
fn a_hundred_megabytes_of_ipv4_through_gue_in_ipv6() {
    transfer(100, Topology::TwoArmed, Mode::Gue, Family::V4);
}

#[test]
fn a_hundred_megabytes_of_ipv6_through_gue_in_ipv4() {
    transfer(100, Topology::Routed, Mode::Gue, Family::V6);
}

#[test]
fn a_hundred_megabytes_through_one_armed_gre() {
    transfer(100, Topology::OneArmed, Mode::Gre, Family::V4);
}

fn transfer(megabytes: u64, topology: Topology, mode: Mode, family: Family) {
    if !available() {
        return;
    }
    let megabytes = std::env::var("LB_TRANSFER_MEGABYTES").map_or(megabytes, |asked| {
        asked.parse().expect("a number of megabytes")
    });
    let rig = Rig::start(topology, mode);
    both_ways(&rig, family, megabytes);
    rig.finish();
}

/// A file of random bytes comes whole, down, with curl from nginx, and up, of the same bytes.
pub fn both_ways(rig: &Rig, family: Family, megabytes: u64) {
    let (content, arrived) = (
        rig.scratch.path().join("random"),
        rig.scratch.path().join("arrived"),
    );
    let mut random = File::open("/dev/urandom")
        .expect("random bytes")
        .take(megabytes * 1_000_000);
    let mut file = File::create(&content).expect("a file");
    io::copy(&mut random, &mut file).expect("random bytes");
    let digest = digest_of(&content);

    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
        .args(["--speed-limit", "1", "--speed-time", "60", "--output"])
        .arg(&arrived)
        .arg(format!("http://{}/files/random", service_in(family, WEB)));
    let downloaded = rig.lab.client.check_output(curl);
    downloaded.unwrap_or_else(|error| panic!("{error}\n{}", rig.lbd.log()));
    assert_eq!(digest_of(&arrived), digest, "downloaded");

    let mut file = File::open(&content).expect("it was written");
    let sink = service_in(family, SINK);
    let uploaded = SinkServer::upload(&rig.lab.client, sink, &mut file);
    let uploaded = uploaded.unwrap_or_else(|error| panic!("{error}\n{}", rig.lbd.log()));
    assert_eq!(uploaded, digest, "uploaded");
}

fn digest_of(path: &std::path::Path) -> String {
    let mut file = File::open(path).expect("it was written");
    sha256(&mut file).expect("a digest")
}
