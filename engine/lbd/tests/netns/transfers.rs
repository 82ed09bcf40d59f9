//! Large transfers arrive as they were sent.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use lb_testkit::netns::{SinkServer, Topology, available, sha256};

use crate::rig::{Mode, Rig, SINK, service, web};

const SIZE: u64 = 100_000_000;

#[test]
fn a_hundred_megabytes_down_and_up_through_two_armed_nat() {
    a_hundred_megabytes(Topology::TwoArmed, Mode::Nat);
}

#[test]
fn a_hundred_megabytes_down_and_up_through_one_armed_nat() {
    a_hundred_megabytes(Topology::OneArmed, Mode::Nat);
}

#[test]
fn a_hundred_megabytes_down_and_up_through_two_armed_dr() {
    a_hundred_megabytes(Topology::TwoArmed, Mode::Dr);
}

#[test]
fn a_hundred_megabytes_down_and_up_through_one_armed_dr() {
    a_hundred_megabytes(Topology::OneArmed, Mode::Dr);
}

#[test]
fn a_hundred_megabytes_down_and_up_through_two_armed_fnat() {
    a_hundred_megabytes(Topology::TwoArmed, Mode::Fnat);
}

fn a_hundred_megabytes(topology: Topology, mode: Mode) {
    if !available() {
        return;
    }
    let rig = Rig::start(topology, mode);
    let mut content = Vec::new();
    let random = File::open("/dev/urandom").expect("random bytes");
    random
        .take(SIZE)
        .read_to_end(&mut content)
        .expect("random bytes");
    let digest = sha256(&mut &content[..]).expect("a digest");
    rig.scratch.write("random", &content).expect("a file");

    let arrived = rig.scratch.path().join("arrived");
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--noproxy",
        "*",
        "--max-time",
        "300",
    ])
    .arg("--output")
    .arg(&arrived)
    .arg(format!("http://{}/files/random", web()));
    rig.lab.client.check_output(curl).expect("a download");
    let mut arrived = File::open(arrived).expect("a file");
    assert_eq!(
        sha256(&mut arrived).expect("a digest"),
        digest,
        "downloaded"
    );

    let uploaded = SinkServer::upload(&rig.lab.client, service(SINK), &content).expect("an upload");
    assert_eq!(uploaded, digest, "uploaded");
    rig.finish();
}
