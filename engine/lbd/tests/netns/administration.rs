//! `lbctl` and `ipvsadm` at a balancer under traffic.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lb_capture::Reader;
use lb_testkit::netns::{Family, HttpTally, Topology, VIP, available, server_name};
use lb_testkit::program;
use serde_json::Value;

use crate::rig::{Mode, Rig, WEB, web};

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

fn lbctl(rig: &Rig, line: &str) -> Command {
    let mut command = Command::new(program("lbctl"));
    command.args(line.split_whitespace());
    command.env("LBD_SOCKET", rig.lbd.socket());
    command
}

/// What a command prints that must succeed without a complaint.
#[track_caller]
fn done(rig: &Rig, line: &str) -> String {
    let output = lbctl(rig, line).output().expect("lbctl starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    assert_eq!(text(output.stderr), "", "{line}\n{}", rig.lbd.log());
    assert_eq!(output.status.code(), Some(0), "{line}");
    text(output.stdout)
}

fn requests(rig: &Rig, count: u64) -> HttpTally {
    HttpTally::collect(&rig.lab.client, web(), count).expect("curl")
}

/// Sends requests until one is answered: what was typed is steered to the workers a moment later.
fn wait_until_served(rig: &Rig) {
    let end = Instant::now() + LIMIT;
    while requests(rig, 1).failures > 0 {
        assert!(Instant::now() < end, "{}", rig.lbd.log());
    }
}

fn server(index: usize) -> String {
    format!("{}:{}", Family::V4.server(index), WEB + 8000)
}

#[test]
fn a_tutorial_typed_unchanged_balances_and_shows_what_it_does() {
    if !available() {
        return;
    }
    let rig = Rig::start(Topology::TwoArmed, Mode::Nat);
    done(&rig, "ipvsadm -C");
    done(&rig, &format!("ipvsadm -A -t {VIP}:80 -s rr"));
    let servers = rig.lab.servers.len();
    for index in 0..servers {
        let server = server(index);
        done(&rig, &format!("ipvsadm -a -t {VIP}:80 -r {server} -m -w 1"));
    }
    wait_until_served(&rig);
    let tally = requests(&rig, 30);
    assert_eq!(
        (tally.failures, tally.answers.len()),
        (0, servers),
        "{tally:?}"
    );

    let listed = done(&rig, "ipvsadm -Ln");
    assert!(listed.contains(&format!("TCP  {VIP}:80 rr\n")), "{listed}");
    let lines = listed.lines().filter(|line| line.contains("Masq"));
    let counts = lines.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<usize>().expect("a number");
        number(4) + number(5)
    });
    let conns: usize = counts.sum();
    assert!(conns >= 30, "{listed}");
    let table = done(&rig, "ipvsadm -Lnc");
    assert_eq!(table.lines().count(), 2 + conns, "{table}");
    assert_eq!(done(&rig, "conns --count"), format!("{conns}\n"));
    let of_first = done(&rig, &format!("conns --server {} --json", server(0)));
    let first: Value =
        serde_json::from_str(of_first.lines().next().expect("a conn")).expect("JSON");
    assert_eq!(first["server"], server(0).as_str());
    assert_eq!(done(&rig, "conns --client 203.0.113.77 --count"), "0\n");

    let client = first["client"].as_str().expect("an endpoint");
    let known = done(&rig, &format!("why {client} {VIP}:80"));
    assert!(
        known.contains(&format!(" to {}, mode nat", server(0))),
        "{known}"
    );
    assert!(known.contains("\nnext hop    "), "{known}");
    assert!(known.contains("decisions   about this client"), "{known}");
    let new = done(&rig, &format!("why 198.18.0.99:1 {VIP}:80"));
    assert!(new.contains("the scheduler's next choice"), "{new}");
    let other = done(&rig, &format!("why {client} {VIP}:81"));
    assert!(other.contains("stay with the kernel"), "{other}");
    rig.finish();
}

#[test]
fn a_local_address_is_on_the_interface_it_was_typed_with_while_its_service_has_it() {
    if !available() {
        return;
    }
    let rig = Rig::start(Topology::TwoArmed, Mode::Nat);
    let lip = "10.1.0.202";
    let is_there = || {
        let addresses = rig.lab.balancer.ip("-oneline address show dev eth1");
        addresses.expect("addresses").contains(&format!(" {lip}/"))
    };
    let service = format!("-t {VIP}:81");
    done(&rig, &format!("ipvsadm -A {service} -s rr"));
    done(&rig, &format!("ipvsadm -P {service} -z {lip} -F eth1"));
    assert!(is_there(), "{}", rig.lbd.log());
    let saved = done(&rig, "ipvsadm -Sn");
    let line = format!("-P {service} -z {lip} -F eth1\n");
    assert!(saved.contains(&line), "{saved}");
    done(&rig, &format!("ipvsadm -a {service} -r {} -b", server(0)));
    let end = Instant::now() + LIMIT;
    let at_new = || HttpTally::collect(&rig.lab.client, (VIP, 81).into(), 1).expect("curl");
    while at_new().failures > 0 {
        assert!(Instant::now() < end, "{}", rig.lbd.log());
    }
    let listed = done(&rig, &format!("ipvsadm -G {service}"));
    assert!(listed.contains(lip), "{listed}");

    done(&rig, &format!("ipvsadm -Q {service} -z {lip}"));
    assert!(!is_there());
    done(&rig, &format!("ipvsadm -P {service} -z {lip} -F eth1"));
    assert!(is_there());
    done(&rig, &format!("ipvsadm -D {service}"));
    assert!(!is_there());

    let mut refused = lbctl(&rig, &format!("ipvsadm -P -t {VIP}:80 -z {lip} -F dpdk0"));
    let output = refused.output().expect("lbctl starts");
    assert_eq!(output.status.code(), Some(255));
    assert_eq!(output.stderr, b"No such device\n");
    assert!(!done(&rig, "ipvsadm -Sn").contains(lip));
    rig.finish();
}

#[test]
fn what_was_typed_with_several_interfaces_is_there_again_after_save_and_run() {
    if !available() {
        return;
    }
    let mut rig = Rig::start(Topology::TwoArmed, Mode::Nat);
    let service = format!("-t {VIP}:81");
    done(&rig, &format!("ipvsadm -A {service} -s rr"));
    for place in ["10.1.0.202 -F eth1", "10.1.0.203 -F eth0", "10.1.0.204"] {
        done(&rig, &format!("ipvsadm -P {service} -z {place}"));
    }
    done(&rig, &format!("ipvsadm -a {service} -r {} -b", server(0)));
    let before = done(&rig, "ipvsadm -Sn");
    let saved = done(&rig, "save");
    let line = r#"local_addresses = ["10.1.0.202 dev eth1", "10.1.0.203 dev eth0", "10.1.0.204"]"#;
    assert!(saved.contains(line), "{saved}");

    rig.start_again_with(&saved);
    assert_eq!(done(&rig, "ipvsadm -Sn"), before);
    let addresses = rig.lab.balancer.ip("-oneline address show");
    let addresses = addresses.expect("addresses");
    for (lip, interface) in [("202", Some("eth1")), ("203", Some("eth0")), ("204", None)] {
        let mut lines = addresses.lines();
        let line = lines.find(|line| line.contains(&format!(" 10.1.0.{lip}/")));
        let found = line.and_then(|line| line.split_whitespace().nth(1));
        assert_eq!(found, interface, "{addresses}");
    }
    rig.finish();
}

#[test]
fn a_drained_server_gets_no_new_conns_until_the_drain_is_undone() {
    if !available() {
        return;
    }
    let rig = Rig::start(Topology::TwoArmed, Mode::Nat);
    let drained = done(&rig, &format!("drain {}", server(0)));
    assert!(drained.contains("weight was 1"), "{drained}");
    let tally = requests(&rig, 40);
    assert_eq!(tally.failures, 0, "{tally:?}");
    assert!(!tally.answers.contains_key(&server_name(0)), "{tally:?}");
    assert!(done(&rig, "save").contains("drained = true"));
    done(&rig, &format!("drain {} --undo", server(0)));
    let tally = requests(&rig, 40);
    assert!(tally.answers.contains_key(&server_name(0)), "{tally:?}");
    assert_eq!(done(&rig, "reload"), "nothing changes\n");
    rig.finish();
}

#[test]
fn a_capture_says_of_each_frame_what_was_decided() {
    if !available() {
        return;
    }
    let rig = Rig::start(Topology::TwoArmed, Mode::Nat);
    let file = rig.scratch.path().join("capture.pcapng");
    let mut capture = lbctl(&rig, &format!("capture --service {VIP}:80 -n 40"))
        .arg("-w")
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .expect("lbctl starts");
    let end = Instant::now() + LIMIT;
    while !has_ended(&mut capture) {
        assert_eq!(requests(&rig, 5).failures, 0);
        assert!(Instant::now() < end, "{}", rig.lbd.log());
    }
    let mut reader = Reader::new(File::open(&file).expect("a file")).expect("a capture");
    let mut frames = 0;
    while let Some((record, interfaces)) = reader.read_record().expect("whole") {
        assert!(interfaces[record.interface].name.is_some());
        frames += 1;
    }
    assert_eq!(frames, 40);
    let bytes = std::fs::read(&file).expect("a file");
    let text = String::from_utf8_lossy(&bytes);
    for comment in ["received; tx; service tcp", "sent; tx", "new conn to 10."] {
        assert!(text.contains(comment), "{comment}");
    }
    rig.finish();
}

#[test]
fn a_daemon_at_work_has_only_the_rights_that_balancing_takes() {
    if !available() {
        return;
    }
    let rig = Rig::start_with(
        Topology::TwoArmed,
        Mode::Nat,
        "[metrics]\naddress = \"127.0.0.1:9100\"\n",
    );
    let status: Value = serde_json::from_str(&done(&rig, "status --json")).expect("JSON");
    let process = format!("/proc/{}", status["pid"].as_u64().expect("a number"));
    let line = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).expect("a process");
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.expect("a line").trim().to_owned()
    };
    // CAP_NET_ADMIN (12), CAP_NET_RAW (13), CAP_IPC_LOCK (14) and CAP_BPF (39).
    let needed = (1_u64 << 12) | (1 << 13) | (1 << 14) | (1 << 39);
    let main = format!("{process}/status");
    for (key, expected) in [("CapEff:", needed), ("CapPrm:", needed), ("CapInh:", 0)] {
        assert_eq!(line(&main, key), format!("{expected:016x}"), "{key}");
    }
    // What programs that it starts can have at most; CAP_PERFMON (38) was needed to start.
    assert_eq!(line(&main, "CapBnd:"), format!("{:016x}", needed | 1 << 38));
    assert_eq!(line(&main, "NoNewPrivs:"), "1");
    let mut workers = 0;
    for thread in std::fs::read_dir(format!("{process}/task")).expect("threads") {
        let file = format!("{}/status", thread.expect("a thread").path().display());
        if line(&file, "Name:").starts_with("lb-worker") {
            workers += 1;
            assert_eq!(line(&file, "CapPrm:"), format!("{:016x}", 0));
        }
    }
    assert!(workers > 0);
    // And with those it works: new addresses, new services, new programs' rules, and what the sockets count.
    let vip = "192.0.2.77";
    let save = done(&rig, "save").replace(&VIP.to_string(), vip);
    std::fs::write(rig.lbd.config(), save).expect("a file");
    assert!(done(&rig, "reload").contains(vip));
    let mut curl = Command::new("curl");
    curl.args(["-sS", "http://127.0.0.1:9100/metrics"]);
    let metrics = rig.lab.balancer.check_output(curl).expect("metrics");
    for series in [
        "lbd_port_rx_ring_full_total{port=\"eth0\",queue=\"0\"} 0",
        "lbd_conntable_entries{worker=\"0\"} 0",
        "lbd_worker_busy_seconds_total{worker=\"0\"} ",
        "lbd_config_reloads_total{result=\"applied\"} 1",
    ] {
        assert!(metrics.contains(series), "{series}\n{metrics}");
    }
    rig.finish();
}

fn has_ended(child: &mut Child) -> bool {
    match child.try_wait().expect("a child of ours") {
        None => false,
        Some(status) => {
            assert!(status.success(), "{status}");
            true
        }
    }
}
