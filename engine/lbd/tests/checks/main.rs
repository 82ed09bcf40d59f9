//! Health checks at work: servers that die, freeze, flap and come back, under live traffic.
//!
//! Every test makes its own lab, so they may run side by side. Where there is no root or no XDP they say SKIPPED.

mod farm;
mod passive;
mod several;
mod thousand;
mod vip;

use std::net::SocketAddr;

use lb_testkit::netns::{VIP, available, server_name, tcp_exchange};
use nix::sys::signal::Signal;

use farm::{Farm, LINES, LineClient, WEB};

#[test]
fn a_killed_server_gets_no_new_conns_and_comes_back_as_it_was_given() {
    if !available() {
        return;
    }
    let mut farm = Farm::start("type = \"tcp\"\ninterval = \"100ms\"\nfall = 2");
    let mut sessions: Vec<LineClient> = (0..6).map(|_| farm.session()).collect();
    assert_eq!(farm.answers(30).len(), 3);

    farm.webs[0] = None;
    let down = farm.wait_for(0, "down");
    assert_eq!(down["failure"], "connection refused");
    assert_eq!(
        (&down["weight"], &down["given_weight"]),
        (&0.into(), &10.into())
    );
    let answers = farm.answers(30);
    assert!(!answers.contains_key(&server_name(0)), "{answers:?}");
    assert_eq!(answers.len(), 2, "{answers:?}");
    // The administrator sees what ipvsadm shows with keepalived, and what they type counts later.
    let rip = format!("{}:{}", farm.rip(0), WEB + 8000);
    let listed = farm.lbctl("ipvsadm -Ln");
    let line = listed
        .lines()
        .find(|line| line.contains(&rip))
        .expect("listed");
    assert_eq!(line.split_whitespace().nth(3), Some("0"), "{listed}");
    farm.lbctl(&format!("ipvsadm -e -t {VIP}:{WEB} -r {rip} -m -w 4"));
    assert_eq!(farm.check(0)["weight"], 0);
    let saved = farm.lbctl("save");
    assert!(
        saved.contains(&format!("rip = \"{rip}\"\nweight = 4\n")),
        "{saved}"
    );
    assert!(
        saved.contains("[service.check]\ntype = \"tcp\"\ninterval = \"100ms\"\nfall = 2\n"),
        "{saved}"
    );

    farm.start_web(0);
    let up = farm.wait_for(0, "up");
    assert_eq!((&up["weight"], &up["changes"]), (&4.into(), &2.into()));
    assert_eq!(farm.answers(60).len(), 3);
    for session in &mut sessions {
        session.exchange();
    }
    let log = farm.finish();
    assert!(
        log.contains(&format!("server {rip} is down: connection refused")),
        "{log}"
    );
    assert!(log.contains(&format!("server {rip} is up")), "{log}");
}

#[test]
fn a_frozen_server_is_found_by_its_silence() {
    if !available() {
        return;
    }
    // Its kernel still accepts connections: only who asks for a page learns that nobody is at home.
    let check = "type = \"http\"\npath = \"/who\"\ninterval = \"200ms\"\ntimeout = \"300ms\"\nfall = 2\n\
                 on_failure = \"remove\"";
    let farm = Farm::start(check);
    let mut sessions: Vec<LineClient> = (0..6).map(|_| farm.session()).collect();
    let web = farm.webs[1].as_ref().expect("it runs");
    web.signal(Signal::SIGSTOP).expect("it runs");
    let down = farm.wait_for(1, "down");
    assert_eq!(down["failure"], "no answer within 300ms");
    assert_eq!(down["removed"], true);
    let rip = format!("{}:{}", farm.rip(1), WEB + 8000);
    assert!(!farm.lbctl("ipvsadm -Ln").contains(&rip), "it is out");
    assert!(farm.lbctl("plan FILE").contains("nothing changes"));
    let answers = farm.answers(30);
    assert!(!answers.contains_key(&server_name(1)), "{answers:?}");
    farm.lbctl("reload");
    assert_eq!(
        farm.check(1)["state"],
        "down",
        "a reload knows what was known"
    );

    let web = farm.webs[1].as_ref().expect("it runs");
    web.signal(Signal::SIGCONT).expect("it runs");
    farm.wait_for(1, "up");
    assert_eq!(farm.answers(60).len(), 3);
    for session in &mut sessions {
        session.exchange();
    }
    farm.finish();
}

#[test]
fn a_flapping_server_needs_more_and_more_good_answers() {
    if !available() {
        return;
    }
    let check = "type = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1\ndamping = \"1h\"";
    let mut farm = Farm::start(check);
    let mut sessions: Vec<LineClient> = (0..6).map(|_| farm.session()).collect();
    let mut needed = Vec::new();
    for _ in 0..3 {
        farm.webs[2] = None;
        let passed = farm.wait_for(2, "down")["passed"].as_u64();
        farm.start_web(2);
        let up = farm.wait_for(2, "up");
        needed.push(up["passed"].as_u64().expect("a number") - passed.expect("a number"));
        sessions.iter_mut().for_each(LineClient::exchange);
    }
    // More may have come in before we looked.
    assert!(
        needed[0] >= 1 && needed[1] >= 2 && needed[2] >= 4,
        "{needed:?}"
    );
    farm.finish();
}

#[test]
fn without_quorum_the_sorry_server_serves_until_it_is_regained() {
    if !available() {
        return;
    }
    let check = format!(
        "type = \"http\"\ninterval = \"100ms\"\nfall = 1\nrise = 1\nquorum = 20\n\
         sorry_server = {{ rip = \"{}:{}\" }}",
        lb_testkit::netns::server_address(3),
        WEB + 8000
    );
    let mut farm = Farm::start(&check);
    farm.start_web(3);
    assert!(!farm.answers(30).contains_key(&server_name(3)));
    // One of three is gone: weight 20 of 20 is enough. Another one: it is not.
    farm.webs[0] = None;
    farm.wait_for(0, "down");
    assert_eq!(farm.service()["quorum_met"], true);
    farm.webs[1] = None;
    farm.wait_for(1, "down");
    farm.wait_until(|farm| farm.service()["quorum_met"] == false);
    let answers = farm.answers(10);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&server_name(3)]);
    let saved = farm.lbctl("save");
    assert_eq!(saved.matches("[[service.server]]").count(), 6, "{saved}");
    farm.start_web(1);
    farm.wait_for(1, "up");
    farm.wait_until(|farm| farm.service()["quorum_met"] == true);
    let answers = farm.answers(10);
    assert_eq!(
        answers.keys().collect::<Vec<_>>(),
        [&server_name(1), &server_name(2)]
    );
    let log = farm.finish();
    assert!(
        log.contains("quorum lost: weight 10 of 20; sorry server"),
        "{log}"
    );
    assert!(log.contains("quorum regained: weight 20 of 20"), "{log}");
}

#[test]
fn a_server_that_comes_back_gets_its_weight_step_by_step_and_who_wants_is_told() {
    if !available() {
        return;
    }
    let scratch = lb_testkit::netns::Scratch::new().expect("a folder");
    let told = scratch.path().join("told");
    let script = scratch.write(
        "notify",
        format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display()),
    );
    let script = script.expect("a file");
    let check = format!(
        "type = \"script\"\ncommand = [\"/bin/sh\", \"-c\", \"test ! -e {}/$LBD_ADDRESS || sleep 1000\"]\n\
         interval = \"100ms\"\ntimeout = \"200ms\"\nfall = 1\nrise = 1\nslow_start = \"2s\"\n\
         notify = [\"/bin/sh\", {script:?}]",
        scratch.path().display()
    );
    let farm = Farm::start(&check);
    let slow = scratch.write(&farm.rip(0).to_string(), "").expect("a file");
    let down = farm.wait_for(0, "down");
    assert_eq!(down["failure"], "no answer within 200ms");
    std::fs::remove_file(slow).expect("a file");
    let mut weights = vec![
        farm.wait_for(0, "starting")["weight"]
            .as_u64()
            .expect("a number"),
    ];
    farm.wait_until(|farm| {
        let check = farm.check(0);
        let weight = check["weight"].as_u64().expect("a number");
        weights.push(weight);
        check["state"] == "up"
    });
    assert!(weights.is_sorted(), "{weights:?}");
    assert!(
        weights[0] < 10 && weights.last() == Some(&10),
        "{weights:?}"
    );
    weights.dedup();
    assert!(weights.len() > 3, "{weights:?}");
    let name = format!("{}:{}", farm.rip(0), WEB + 8000);
    let service = format!("tcp {VIP}:{WEB}");
    let expected = format!(
        "SERVER {name} DOWN {service} no answer within 200ms\nSERVER {name} UP {service} 1 good answers\n"
    );
    farm.wait_until(|_| std::fs::read_to_string(&told).is_ok_and(|text| text == expected));
    farm.finish();
}

#[test]
fn a_service_that_is_not_checked_is_left_alone() {
    if !available() {
        return;
    }
    let farm = Farm::start("type = \"tcp\"\ninterval = \"50ms\"\nfall = 1");
    // The line service has no check: nobody notices that its server is gone.
    let session: SocketAddr = (VIP, LINES).into();
    tcp_exchange(&farm.lab.client, session, 2).expect("a session");
    let services = farm.checks();
    assert_eq!(services.as_array().map(Vec::len), Some(1), "{services}");
    farm.finish();
}
