//! `lbd doctor` at a machine made for it: what is wrong there is found, and nothing is changed.

use std::process::Command;

use lb_testkit::netns::{End, Namespace, Scratch, available, veth};
use serde_json::Value;

const CONFIG: &str = "[engine]\ninterfaces = [\"eth0\", \"eth9\"]\n\
    [[service]]\nvip = \"192.0.2.1:80\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\nmode = \"nat\"\n\
    [[service.server]]\nrip = \"203.0.113.9:80\"\nweight = 1\n";

fn doctor(namespace: &Namespace, words: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
    command.args(["doctor", "--json"]).args(words);
    let output = namespace.output(command).expect("lbd starts");
    assert!(output.stderr.is_empty(), "{output:?}");
    let findings = serde_json::from_slice(&output.stdout).expect("a list");
    (output.status.code(), findings)
}

#[track_caller]
fn verdict<'a>(findings: &'a [Value], about: &str, check: &str) -> &'a str {
    let found = |finding: &&Value| finding["about"] == about && finding["check"] == check;
    let finding = findings.iter().find(found);
    let finding = finding.unwrap_or_else(|| panic!("{about} {check}: {findings:#?}"));
    finding["verdict"].as_str().expect("a word")
}

#[test]
fn what_a_machine_lacks_is_found_and_nothing_is_changed() {
    if !available() {
        return;
    }
    let namespace = Namespace::new("patient").expect("a namespace");
    let ends = ["eth0", "peer"].map(|name| End::new(&namespace, name));
    veth(ends[0], ends[1], 1).expect("a veth pair");
    namespace.sysctl("net/ipv4/ip_forward", "0").expect("a key");
    namespace
        .sysctl("net/ipv4/conf/all/rp_filter", "1")
        .expect("a key");
    let links = || namespace.ip("-details link show").expect("links");
    let before = links();

    let (code, findings) = doctor(&namespace, &["eth0"]);
    assert_eq!(code, Some(0), "{findings:#?}");
    for (about, check) in [
        ("machine", "kernel"),
        ("machine", "privileges"),
        ("machine", "reverse_path"),
        ("eth0", "device"),
        ("eth0", "mtu"),
        ("eth0", "xdp"),
        ("eth0", "zero_copy"),
        ("eth0", "xdp_program"),
        ("eth0", "offloads"),
    ] {
        assert_eq!(verdict(&findings, about, check), "ok", "{about} {check}");
    }

    let scratch = Scratch::new().expect("a folder");
    let file = scratch.write("lbd.toml", CONFIG).expect("a file");
    let file = file.to_str().expect("a plain name");
    namespace.ip("link set eth0 mtu 3000").expect("an MTU");
    let (code, findings) = doctor(&namespace, &["--config", file]);
    assert_eq!(code, Some(1));
    assert_eq!(verdict(&findings, "configuration", "file"), "ok");
    assert_eq!(verdict(&findings, "eth0", "mtu"), "problem");
    assert_eq!(verdict(&findings, "eth9", "device"), "problem");
    assert_eq!(verdict(&findings, "machine", "forwarding"), "advice");
    // Without all of its interfaces there are no routes to look at.
    assert_eq!(verdict(&findings, "server 203.0.113.9", "route"), "unseen");
    let (_, findings) = doctor(&namespace, &["--config", file, "eth0"]);
    assert_eq!(verdict(&findings, "server 203.0.113.9", "route"), "problem");
    namespace.ip("link set eth0 mtu 1500").expect("an MTU");
    namespace.ip("tuntap add lbd0 mode tap").expect("a tap");
    let own = "net/ipv4/conf/lbd0/rp_filter";
    namespace.sysctl(own, "0").expect("a key");
    let (_, findings) = doctor(&namespace, &["eth0"]);
    assert_eq!(verdict(&findings, "machine", "reverse_path"), "problem");
    namespace.ip("link delete lbd0").expect("a tap");
    assert_eq!(links(), before);
}
