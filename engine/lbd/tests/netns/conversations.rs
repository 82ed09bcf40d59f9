//! What TCP connections go through besides short requests, in every mode and both address families: measured by iperf3,
//! reset by either side, closed by one side first; and datagrams.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb_testkit::netns::{
    Ending, Family, HttpTally, IperfServer, Sending, Topology, available, end_connection,
    server_name, udp_requests,
};

use crate::rig::{ENDING, IPERF, Mode, Rig, UDP, WEB, service_in};

/// Of each kind; a multiple of the number of servers.
const CONNECTIONS: u64 = 9;
const DATAGRAMS: u64 = 60;
const MEGABYTES: u32 = 10;

/// How long a server may take to see what the client has done.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn every_kind_of_conversation_through_two_arms() {
    if available() {
        let modes = Mode::ALL.into_iter();
        modes.for_each(|mode| converse(Topology::TwoArmed, mode));
    }
}

#[test]
fn every_kind_of_conversation_through_one_arm() {
    if available() {
        let modes = Mode::ALL.into_iter();
        modes.for_each(|mode| converse(Topology::OneArmed, mode));
    }
}

/// DR is not for servers behind a router.
#[test]
fn every_kind_of_conversation_across_a_router() {
    if available() {
        let modes = Mode::ALL.into_iter().filter(|mode| *mode != Mode::Dr);
        modes.for_each(|mode| converse(Topology::Routed, mode));
    }
}

fn converse(topology: Topology, mode: Mode) {
    let mut rig = Rig::start(topology, mode);
    for (at, family) in Family::BOTH.into_iter().enumerate() {
        let what = format!("{mode:?} {topology:?} {family}");
        requests(&rig, family, &what);
        datagrams(&rig, family, &what);
        endings(&rig, (at, family), &what);
        for sending in [Sending::Up, Sending::Down] {
            let service = service_in(family, IPERF);
            let measured = IperfServer::measure(&rig.lab.client, service, sending, MEGABYTES);
            measured
                .unwrap_or_else(|error| panic!("{what} {sending:?}: {error}\n{}", rig.lbd.log()));
            for server in &mut rig.servers {
                server.iperf.settle().expect("it listens again");
            }
        }
    }
    rig.finish();
}

fn requests(rig: &Rig, family: Family, what: &str) {
    let web = service_in(family, WEB);
    let tally = HttpTally::collect(&rig.lab.client, web, CONNECTIONS).expect("curl");
    let log = rig.lbd.log();
    assert_eq!(tally.answers, even(rig, CONNECTIONS), "{what}\n{log}");
}

fn datagrams(rig: &Rig, family: Family, what: &str) {
    let dns = service_in(family, UDP);
    let tally = udp_requests(&rig.lab.client, dns, DATAGRAMS).expect("sockets");
    let log = rig.lbd.log();
    assert_eq!(tally.answers, even(rig, DATAGRAMS), "{what}\n{log}");
}

fn even(rig: &Rig, all: u64) -> BTreeMap<String, u64> {
    let servers = rig.lab.servers.len();
    (0..servers)
        .map(|index| (server_name(index), all / servers as u64))
        .collect()
}

fn endings(rig: &Rig, (at, family): (usize, Family), what: &str) {
    for ending in Ending::ALL {
        for _ in 0..CONNECTIONS {
            let service = service_in(family, ENDING);
            let ended = end_connection(&rig.lab.client, service, ending);
            ended.unwrap_or_else(|error| panic!("{what}: {error}\n{}", rig.lbd.log()));
        }
        let seen = || {
            let servers = rig.servers.iter();
            servers.map(|s| s.endings[at].seen(ending)).sum::<u64>()
        };
        // The client is done before its last segments arrive.
        let start = Instant::now();
        while seen() < CONNECTIONS && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(seen(), CONNECTIONS, "{what} {ending:?}\n{}", rig.lbd.log());
    }
}
