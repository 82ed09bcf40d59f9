//! Requests that come in on one queue and replies that come in on another, with a worker for each queue.

use std::process::Command;

use lb_testkit::netns::{
    Family, HttpTally, Topology, available, large_udp_request, sha256, tcp_exchange, udp_requests,
};

use crate::rig::{Mode, Rig, UDP, WEB, service_in, ssh};

const REQUESTS: u64 = 300;

#[test]
fn replies_on_another_queue_find_their_conn_in_nat() {
    replies_on_another_queue(Topology::TwoArmed, Mode::Nat, Family::V4);
}

#[test]
fn replies_on_another_queue_find_their_conn_in_fnat_over_ipv6() {
    replies_on_another_queue(Topology::TwoArmed, Mode::Fnat, Family::V6);
}

fn replies_on_another_queue(topology: Topology, mode: Mode, family: Family) {
    if !available() {
        return;
    }
    let rig = Rig::start_on_two_queues(topology, mode);
    for [requests, replies] in [[0, 1], [1, 0]] {
        rig.lab.deliver_on("eth0", requests).expect("XPS");
        rig.lab.deliver_on("eth1", replies).expect("XPS");
        let web = service_in(family, WEB);
        let tally = HttpTally::collect(&rig.lab.client, web, REQUESTS).expect("curl");
        let answered = (tally.failures, tally.connections);
        assert_eq!(answered, (0, REQUESTS), "{tally:?}\n{}", rig.lbd.log());
        let udp = service_in(family, UDP);
        let tally = udp_requests(&rig.lab.client, udp, REQUESTS).expect("sockets");
        assert_eq!(tally.failures, 0, "{tally:?}\n{}", rig.lbd.log());
        // Its fragments are put together by one worker, whose conn it may not be.
        let answer = large_udp_request(&rig.lab.client, udp, 4000);
        assert!(answer.is_ok(), "{answer:?}\n{}", rig.lbd.log());
        tcp_exchange(&rig.lab.client, ssh(), 3).expect("not ours");
    }
    let log = rig.finish();
    assert!(counted(&log, "handed.over") > 2 * 3 * REQUESTS, "{log}");
    assert_eq!(counted(&log, "handed.over"), counted(&log, "handed.taken"));
    assert!(!log.contains("drop.owner_busy"), "{log}");
}

/// The number after a counter's name in the last line of the log.
fn counted(log: &str, counter: &str) -> u64 {
    let (_, rest) = log.rsplit_once(counter).unwrap_or_default();
    let digits = rest.trim_start_matches([' ', '=', ':']);
    let end = digits.find(|c: char| !c.is_ascii_digit());
    let number = &digits[..end.unwrap_or(digits.len())];
    number.parse().unwrap_or(0)
}

/// The queues change under transfers, again and again, in both directions.
#[test]
fn transfers_go_on_while_their_queues_change() {
    if !available() {
        return;
    }
    let rig = Rig::start_on_two_queues(Topology::TwoArmed, Mode::Nat);
    let [content, arrived] = ["content", "arrived"].map(|name| rig.scratch.path().join(name));
    let text: Vec<u8> = (0..20_000_000_u32)
        .map(|n| (n * 7 + n / 256) as u8)
        .collect();
    std::fs::write(&content, &text).expect("a file");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
        .args(["--speed-limit", "1", "--speed-time", "30", "--output"])
        .arg(&arrived)
        .arg(format!(
            "http://{}/files/content",
            service_in(Family::V4, WEB)
        ));
    std::thread::scope(|scope| {
        let download = scope.spawn(|| rig.lab.client.check_output(curl));
        let mut queue = 0;
        while !download.is_finished() {
            queue = 1 - queue;
            rig.lab.deliver_on("eth0", queue).expect("XPS");
            rig.lab.deliver_on("eth1", 1 - queue).expect("XPS");
        }
        let downloaded = download.join().expect("no panic");
        downloaded.unwrap_or_else(|error| panic!("{error}\n{}", rig.lbd.log()));
    });
    let digest = |path| sha256(&mut std::fs::File::open(path).expect("a file")).expect("a digest");
    assert_eq!(digest(&arrived), digest(&content));
    let log = rig.finish();
    assert!(counted(&log, "handed.over") > 0, "{log}");
    assert!(!log.contains("punt.no_conn"), "{log}");
}
