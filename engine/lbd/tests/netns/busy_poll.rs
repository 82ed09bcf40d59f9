//! What a worker does while nothing comes.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lb_testkit::netns::{HttpTally, Topology, available};
use lb_testkit::program;

use crate::rig::{Mode, Rig, web};

const METRICS: &str = "127.0.0.1:9100";
/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

/// A worker's turns, and how often it has gone to sleep.
#[derive(Clone, Copy, Debug)]
struct Rest {
    turns: u64,
    sleeps: u64,
}

impl Rest {
    fn now(rig: &Rig) -> Rest {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
            .arg(format!("http://{METRICS}/metrics"));
        let metrics = rig.lab.balancer.check_output(curl).expect("metrics");
        Rest {
            turns: number(&metrics, "lbd_worker_turns_total{worker=\"0\"}"),
            sleeps: number(&worker_status(rig.lbd.id()), "voluntary_ctxt_switches:"),
        }
    }

    /// How many more there are when there are this many more turns.
    fn over(rig: &Rig, turns: u64) -> Rest {
        let before = Rest::now(rig);
        let end = Instant::now() + LIMIT;
        loop {
            let now = Rest::now(rig);
            if now.turns - before.turns >= turns {
                return Rest {
                    turns: now.turns - before.turns,
                    sleeps: now.sleeps - before.sleeps,
                };
            }
            assert!(Instant::now() < end, "{before:?} {now:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What the kernel tells of the first worker's thread.
fn worker_status(process: u32) -> String {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let folders = threads.map(|thread| thread.expect("a thread").path());
    let is_worker = |name: String| name.trim_end() == "lb-worker-0";
    let mut workers =
        folders.filter(|folder| fs::read_to_string(folder.join("comm")).is_ok_and(is_worker));
    let worker = workers.next().expect("a worker");
    fs::read_to_string(worker.join("status")).expect("its status")
}

/// The number behind `name` at the beginning of a line.
fn number(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    let rest = rest.unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.trim().parse().expect("a number")
}

#[track_caller]
fn serves(rig: &Rig) {
    let tally = HttpTally::collect(&rig.lab.client, web(), 200).expect("curl");
    assert_eq!(
        (tally.failures, tally.connections),
        (0, 200),
        "{tally:?}\n{}",
        rig.lbd.log()
    );
}

fn lbctl(rig: &Rig, word: &str) -> String {
    let mut command = Command::new(program("lbctl"));
    command.arg(word).env("LBD_SOCKET", rig.lbd.socket());
    let output = command.output().expect("lbctl starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_worker_sleeps_between_packets_unless_it_is_to_poll() {
    if !available() {
        return;
    }
    let more = format!("\n[metrics]\naddress = \"{METRICS}\"\n");
    let mut rig = Rig::start_with(Topology::TwoArmed, Mode::Nat, &more);
    serves(&rig);
    let idle = Rest::over(&rig, 10);
    // After a turn in which something came there is one more before it sleeps.
    assert!(idle.turns <= 2 * idle.sleeps + 4, "it spins: {idle:?}");
    assert!(!lbctl(&rig, "status").contains("busy polling"));

    let config = fs::read_to_string(rig.lbd.config()).expect("a file");
    rig.start_again_with(&config.replacen("[engine]\n", "[engine]\nbusy_poll = true\n", 1));
    serves(&rig);
    let polling = Rest::over(&rig, 100_000);
    // Memory that it must wait for is one of the few reasons left to give its CPU away.
    assert!(polling.sleeps < 100, "it sleeps: {polling:?}");
    assert!(lbctl(&rig, "status").contains("workers     1, busy polling, room for"));
    assert!(lbctl(&rig, "save").contains("busy_poll = true"));
    let log = rig.finish();
    assert!(log.contains("busy polling of the rings"), "{log}");
}
