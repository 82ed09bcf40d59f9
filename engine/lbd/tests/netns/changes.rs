//! Ten thousand changes by two administrators, and reloads, while clients are at work: nobody loses a connection.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lb_testkit::netns::{Family, HttpTally, SinkServer, Topology, VIP, available, sha256};
use lb_testkit::program;

use crate::rig::{Mode, Rig, SINK, WEB, service, web};

const ADMINISTRATORS: usize = 2;
const CHANGES: usize = 10_000 / ADMINISTRATORS;
const RELOADS: usize = 40;

/// Sends as slowly as a person types, until told to end: its connection lives through every change.
struct Typist<'a> {
    done: &'a AtomicBool,
    typed: &'a AtomicU64,
}

impl Read for Typist<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.done.load(Ordering::Relaxed) {
            return Ok(0);
        }
        thread::sleep(Duration::from_millis(5));
        buffer[0] = b'x';
        self.typed.fetch_add(1, Ordering::Relaxed);
        Ok(1)
    }
}

/// Has a command line of ipvsadm done, without the cost of a program for each.
#[track_caller]
fn ipvsadm(rig: &Rig, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let body = serde_json::json!({ "arguments": words }).to_string();
    let request = format!(
        "POST /v1/ipvsadm HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(rig.lbd.socket()).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(
        answer.ends_with("\r\n\r\n{\"exit\":0}\n"),
        "{line}: {answer}"
    );
}

/// The `number`th change of an administrator. What one makes no other touches, but for the scheduler and the time-outs.
fn change(administrator: usize, number: usize) -> String {
    let (round, step) = (number / 8, number % 8);
    let port = WEB + 8000;
    let server = |index| format!("{}:{port}", Family::V4.server(index));
    let own = format!("192.0.2.{}:{}", administrator + 1, 1000 + round % 1000);
    let spare = format!("10.99.{administrator}.{}:80", 1 + round % 250);
    match step {
        // Quiesced now and then: its conns live on.
        0 => format!(
            "-e -t {VIP}:80 -r {} -m -w {}",
            server(administrator),
            round % 5
        ),
        1 => {
            // Without fallback sh and mh refuse whom they would send to a quiesced server, as IPVS's do.
            let (sh, mh) = ("sh -b sh-fallback", "mh -b mh-fallback");
            let schedulers = ["rr", "wrr", "wlc", "lc", "sed", "nq", sh, mh];
            format!("-E -t {VIP}:80 -s {}", schedulers[round % schedulers.len()])
        }
        2 => format!("-A -t {own} -s wrr"),
        3 => format!("-a -t {own} -r {} -m -w 7", server(2)),
        4 => format!("-a -t {VIP}:80 -r {spare} -m -w 0"),
        5 => format!("-D -t {own}"),
        6 => format!("-d -t {VIP}:80 -r {spare}"),
        _ => format!("--set {} 120 300", 900 + round % 7),
    }
}

#[test]
fn ten_thousand_changes_and_reloads_under_traffic_lose_no_connection() {
    if !available() {
        return;
    }
    let rig = Rig::start(Topology::TwoArmed, Mode::Nat);
    let (done, typed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let uploads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let typed = AtomicU64::new(0);
                    let mut typist = Typist {
                        done: &done,
                        typed: &typed,
                    };
                    let digest = SinkServer::upload(&rig.lab.client, service(SINK), &mut typist);
                    (digest, typed.into_inner())
                })
            })
            .collect();
        let requests = scope.spawn(|| {
            let mut failures = 0;
            while !done.load(Ordering::Relaxed) {
                let tally = HttpTally::collect(&rig.lab.client, web(), 50).expect("curl");
                failures += tally.failures;
                typed.fetch_add(tally.answers.values().sum(), Ordering::Relaxed);
                assert_eq!(failures, 0, "{tally:?}\n{}", counted(&rig));
            }
        });
        let administrators: Vec<_> = (0..ADMINISTRATORS)
            .map(|administrator| {
                let rig = &rig;
                scope.spawn(move || {
                    (0..CHANGES).for_each(|number| ipvsadm(rig, &change(administrator, number)));
                })
            })
            .collect();
        let changed: Vec<_> = administrators
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        let reloaded = reload(&rig);
        done.store(true, Ordering::Relaxed);
        requests.join().expect("no request failed");
        for upload in uploads {
            let (digest, length) = upload.join().expect("it ends");
            let expected = sha256(&mut io::repeat(b'x').take(length)).expect("sha256sum");
            assert_eq!(
                digest.expect("the connection lives"),
                expected,
                "{}",
                rig.lbd.log()
            );
            assert!(length > 0);
        }
        assert!(changed.iter().all(Result::is_ok));
        assert_eq!(reloaded, RELOADS);
    });
    assert!(typed.into_inner() > 0, "somebody was served meanwhile");
    rig.finish();
}

/// What the balancer has counted and who its servers are, where something went wrong.
fn counted(rig: &Rig) -> String {
    let print = |words: &[&str]| {
        let mut lbctl = Command::new(program("lbctl"));
        lbctl.args(words).env("LBD_SOCKET", rig.lbd.socket());
        let output = lbctl.output().expect("lbctl starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    print(&["stats"]) + &print(&["ipvsadm", "-Ln"])
}

/// Puts one file and another into force by turns; how many of them were.
fn reload(rig: &Rig) -> usize {
    let file = rig.lbd.config();
    let before = std::fs::read_to_string(&file).expect("a file");
    let other = before.replace("scheduler = \"rr\"", "scheduler = \"wlc\"")
        + "\n[[service]]\nvip = \"192.0.2.200:80\"\nprotocol = \"tcp\"\nscheduler = \"mh\"\nmode = \"nat\"\n";
    let applied = |number: &usize| {
        let text = if number.is_multiple_of(2) {
            &other
        } else {
            &before
        };
        std::fs::write(&file, text).expect("a file");
        let mut reload = Command::new(program("lbctl"));
        reload.arg("reload").env("LBD_SOCKET", rig.lbd.socket());
        reload.output().expect("lbctl starts").status.success()
    };
    (0..RELOADS).filter(applied).count()
}
