//! Several roles at once, and what happens around them.

use std::process::Command;
use std::time::{Duration, Instant};

use lb_testkit::netns::{Namespace, Scratch, available};
use nix::sys::signal::Signal;

use crate::rig::{Agent, footprint};

const LIMIT: Duration = Duration::from_secs(30);

/// Waits until an agent's look around has brought this about.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
    }
}

#[test]
fn a_file_is_the_whole_truth_and_is_read_again() {
    if !available() {
        return;
    }
    let (server, scratch) = (
        Namespace::new("server").expect("a namespace"),
        Scratch::new().expect("a folder"),
    );
    server
        .ip("link add eth0 up type veth peer name cable0")
        .expect("a veth");
    let before = footprint(&server);
    let agent = Agent::new(&server);
    let all = "[toa]\nfrom = [\"10.1.0.0/24\"]\n[enat]\nvips = [\"10.0.0.100\"]\ninterfaces = [\"eth0\"]\n\
               [tun]\nvips = [\"10.0.0.100\", \"10.0.0.101\"]\n[dr]\nvips = [\"10.0.0.102\"]\n";
    let file = scratch.write("lbrs.toml", all).expect("a file");
    let mut process = agent.stay(&format!("run --config {}", file.display()));
    for role in ["toa", "enat", "tun", "dr"] {
        let status = agent.status(role);
        assert_eq!(status["attached"], true, "{status}");
        assert_eq!(status["keeper"], process.id(), "{status}");
    }
    assert_eq!(agent.status("enat")["interfaces"][0], "eth0");

    // A mistake changes nothing.
    scratch
        .write("lbrs.toml", "[dr]\nvip = 1\n")
        .expect("a file");
    process.signal(Signal::SIGHUP).expect("it runs");
    process
        .wait_for("everything stays as it is", LIMIT)
        .expect("it complains");
    assert_eq!(agent.status("tun")["attached"], true);

    let fewer = "[tun]\nvips = [\"10.0.0.101\"]\n";
    scratch.write("lbrs.toml", fewer).expect("a file");
    process.signal(Signal::SIGHUP).expect("it runs");
    process.wait_for("ready again", LIMIT).expect("it obeys");
    assert_eq!(agent.status("tun")["vips_held"][0], "10.0.0.101");
    for role in ["toa", "enat", "dr"] {
        assert_eq!(agent.status(role)["attached"], false, "{role}");
    }
    process.signal(Signal::SIGTERM).expect("it runs");
    assert!(process.wait(LIMIT).expect("it ends").success());
    assert_eq!(agent.status("tun")["attached"], true, "it stays");
    agent.run("detach");
    assert_eq!(footprint(&server), before);
}

#[test]
fn interfaces_that_come_are_served_and_those_that_go_are_forgotten() {
    if !available() {
        return;
    }
    let server = Namespace::new("server").expect("a namespace");
    let agent = Agent::new(&server);
    let _process = agent.stay("tun 10.0.0.100");
    let interfaces = || agent.status("tun")["interfaces"].to_string();
    assert_eq!(interfaces(), "[]");
    server
        .ip("link add eth0 up type veth peer name eth1")
        .expect("a veth");
    eventually("both are served", || {
        interfaces().contains("eth0") && interfaces().contains("eth1")
    });
    server.ip("link add bridge type bridge").expect("a bridge");
    server.ip("link set eth1 master bridge").expect("a port");
    eventually("the bridge in place of its port", || {
        interfaces().contains("bridge") && !interfaces().contains("eth1")
    });
    server.ip("link del eth0").expect("it is there");
    eventually("only the bridge", || interfaces() == "[\"bridge\"]");
}

#[test]
fn what_is_missing_is_named() {
    if !available() {
        return;
    }
    let server = Namespace::new("server").expect("a namespace");
    let agent = Agent::new(&server);
    let error = agent.refused("tun 10.0.0.100 --interface eth7 --once");
    assert!(
        error.contains("no interface `eth7`; there are: lo"),
        "{error}"
    );
    assert!(agent.run("detach").contains("nothing is attached"));

    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid", "65534", "--clear-groups"]);
    nobody.args([env!("CARGO_BIN_EXE_lbrs"), "tun", "10.0.0.100"]);
    // The program may lie where only root comes to; the shell's answer to that is another one.
    let output = server.output(nobody).expect("setpriv");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("this process lacks CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON")
            || said.contains("Permission denied"),
        "{said}"
    );
}
