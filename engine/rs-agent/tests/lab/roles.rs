//! Several roles at once, and what happens around them.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lb::{Protocol, ServiceConfig};
use lb_testkit::netns::{Family, HttpTally, Namespace, Scratch, Topology, WebServer, available};
use nix::sys::signal::Signal;

use crate::rig::{Agent, Front, footprint, kill, lab, service};

use Family::V4;

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
    footprint(&server).assert_is(&before);
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

/// A role behind the balancer that is made for it.
struct Case {
    role: &'static str,
    attach: String,
    service: ServiceConfig,
}

fn cases() -> [Case; 3] {
    let (vip, balancer) = (V4.vip(), V4.balancer_back(Topology::TwoArmed));
    let to = |mode, port| service(mode, Protocol::Tcp, (V4, 80), (V4, port));
    let lip = V4.local_address(Topology::TwoArmed);
    let fnat = to("fnat", 8080).with_local_address_on(lip.into(), "eth1");
    [
        Case {
            role: "toa",
            attach: format!("toa --from {lip}"),
            service: fnat,
        },
        Case {
            role: "tun",
            attach: format!("tun {vip} --from {balancer}"),
            service: to("tun", 80),
        },
        Case {
            role: "dr",
            attach: format!("dr {vip}"),
            service: to("dr", 80),
        },
    ]
}

/// Packets that a server has received.
fn received(server: &Namespace) -> u64 {
    let table = server.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
    let table = table.expect("every namespace has one");
    let line = table
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    packets
        .and_then(|packets| packets.parse().ok())
        .expect("a number")
}

#[test]
fn a_killed_agent_leaves_its_programs_at_work_and_the_next_one_takes_them_over() {
    if !available() {
        return;
    }
    const BATCH: u64 = 200;
    for Case {
        role,
        attach,
        service,
    } in cases()
    {
        let (lab, scratch) = (lab(Topology::TwoArmed), Scratch::new().expect("a folder"));
        let server = &lab.servers[0];
        let port = service.servers[0].rip.port;
        let _web = WebServer::start(server, "server-1", port, &scratch).expect("nginx");
        let front = Front::start(&lab, vec![service]);
        let before = footprint(server);
        let agent = Agent::new(server);
        let first = agent.stay(&attach);
        let another = agent.refused(&attach);
        assert!(
            another.contains("looked after by another lbrs"),
            "{another}"
        );

        // While connections come and go, one process is killed and another takes its place.
        let over = AtomicBool::new(false);
        let (requests, failures) = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let (mut requests, mut failures) = (0, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let tally = HttpTally::collect(&lab.client, (V4.vip(), 80).into(), BATCH);
                    let tally = tally.expect("curl");
                    requests += BATCH;
                    failures.extend((tally.connections != BATCH).then_some(tally));
                }
                (requests, failures)
            });
            let more = || {
                let goal = received(server) + 500;
                eventually("packets come", || received(server) >= goal);
            };
            more();
            kill(first);
            assert_eq!(agent.status(role)["keeper"], serde_json::Value::Null);
            more();
            let second = agent.stay(&attach);
            let log = second.log();
            assert!(role == "dr" || log.contains("took over"), "{log}");
            more();
            kill(second);
            more();
            over.store(true, Ordering::Relaxed);
            client.join().expect("no panic")
        });
        assert!(failures.is_empty(), "{role}: {failures:?}");
        match role {
            "toa" => assert_eq!(agent.counter("toa", "restored"), requests),
            "tun" => assert!(agent.counter("tun", "decapsulated") >= 4 * requests),
            _ => assert_eq!(agent.status(role)["vips_held"][0], "10.0.0.100"),
        }
        agent.run("detach");
        footprint(server).assert_is(&before);
        front.finish();
    }
}

/// What `script`, which calls `lbrs` as `$0`, prints in a container: with its own processes, mounts and network, and these
/// rights alone, after whoever starts containers has done what `given` says.
fn in_container(server: &Namespace, given: &str, rights: &str, script: &str) -> String {
    let mut container = Command::new("unshare");
    container.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    container.args(["--propagation", "private", "sh", "-e", "-c"]);
    container.arg(format!(
        "mount -t tmpfs run /run; {given}
         exec setpriv --bounding-set \"$1\" --inh-caps=-all sh -e -c \"$2\" \"$3\" 2>&1"
    ));
    container.args(["sh", rights, script, env!("CARGO_BIN_EXE_lbrs")]);
    let output = server.output(container).expect("unshare");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_container_needs_few_rights_and_is_told_which() {
    if !available() {
        return;
    }
    let server = Namespace::new("server").expect("a namespace");
    server
        .ip("link add eth0 up type veth peer name cable0")
        .expect("a veth");
    let before = footprint(&server);
    let tun = "\"$0\" tun 10.0.0.100 --once";
    let several = "\"$0\" tun 10.0.0.100 --once; \"$0\" enat 10.0.0.100 --once;
                   \"$0\" toa --once; \"$0\" status; \"$0\" detach";

    let said = in_container(&server, "", "-all,+net_admin", tun);
    assert!(
        said.contains("this process lacks CAP_BPF, CAP_PERFMON"),
        "{said}"
    );
    let rights = "-all,+net_admin,+bpf,+perfmon";
    let said = in_container(&server, "", rights, tun);
    assert!(
        said.contains("needs CAP_SYS_ADMIN; or mount one there: mount -t bpf lbrs /run/lbrs/bpf"),
        "{said}"
    );
    footprint(&server).assert_is(&before);

    let mounted = "mkdir -p /run/lbrs/bpf; mount -t bpf lbrs /run/lbrs/bpf;";
    for (given, rights) in [(mounted, rights), ("", &rights_of_the_unit())] {
        let said = in_container(&server, given, rights, several);
        for role in ["toa", "enat", "tun"] {
            let detached = format!("{role}: detached");
            assert!(said.contains(&detached), "{rights}: {said}");
        }
        footprint(&server).assert_is(&before);
    }
}

/// What the service manager leaves to `lbrs`, as setpriv writes it.
fn rights_of_the_unit() -> String {
    let unit = include_str!("../../../../dist/lbrs.service");
    let mut lines = unit.lines();
    let rights = lines.find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let rights = rights.expect("the unit limits them").split_whitespace();
    let rights = rights.map(|right| right.trim_start_matches("CAP_").to_lowercase());
    rights.fold("-all".to_owned(), |all, right| format!("{all},+{right}"))
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
