//! TUN: packets come out of their tunnel, and only those that should.

use lb::Protocol;
use lb_testkit::netns::{
    Family, HttpTally, Scratch, Topology, UdpServer, WebServer, available, udp_requests,
};

use crate::rig::{Agent, Front, footprint, kill, lab, service};

use Family::{V4, V6};

#[test]
fn all_four_pairs_of_families_are_decapsulated_and_detaching_undoes_it() {
    if !available() {
        return;
    }
    let (lab, scratch) = (lab(Topology::Routed), Scratch::new().expect("a folder"));
    let server = &lab.servers[0];
    let _web = WebServer::start(server, "server-1", 80, &scratch).expect("nginx");
    let before = footprint(server);
    let agent = Agent::new(server);
    for (inner, outer) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
        let front = Front::start(
            &lab,
            vec![
                service("tun", Protocol::Tcp, (inner, 80), (outer, 80)),
                service("tun", Protocol::Udp, (inner, 53), (outer, 53)),
            ],
        );
        let (web, dns) = ((inner.vip(), 80).into(), (inner.vip(), 53).into());
        let unserved = udp_requests(&lab.client, dns, 1).expect("sockets");
        assert_eq!(unserved.failures, 1, "{inner} in {outer}");

        let balancer = outer.balancer_back(Topology::Routed);
        agent.run(&format!("tun {} --from {balancer} --once", inner.vip()));
        let udp = UdpServer::start(server, "server-1", dns).expect("the VIP is there");
        let tally = udp_requests(&lab.client, dns, 5).expect("sockets");
        assert_eq!(tally.failures, 0, "{inner} in {outer}");
        let tally = HttpTally::collect(&lab.client, web, 50).expect("curl");
        assert_eq!(tally.failures, 0, "{inner} in {outer}: {tally:?}");
        let status = agent.status("tun");
        assert_eq!(status["interfaces"][0], "eth0", "{status}");
        assert_eq!(status["counters"]["untrusted"], 0, "{status}");
        assert!(agent.counter("tun", "decapsulated") >= 200, "{status}");

        drop(udp);
        agent.run("detach");
        assert_eq!(footprint(server), before, "{inner} in {outer}");
        assert_eq!(agent.status("tun")["attached"], false);
        let unserved = udp_requests(&lab.client, dns, 1).expect("sockets");
        assert_eq!(unserved.failures, 1, "{inner} in {outer}");
        front.finish();
    }
}

#[test]
fn strangers_tunnels_and_other_destinations_are_left_alone_and_counted() {
    if !available() {
        return;
    }
    let lab = lab(Topology::TwoArmed);
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let services = vec![service("tun", Protocol::Udp, (V4, 53), (V4, 53))];
    let front = Front::start(&lab, services);
    let dns = (V4.vip(), 53).into();

    agent.run(&format!(
        "tun {} --from 192.0.2.1,2001:db8::/32 --once",
        V4.vip()
    ));
    let _udp = UdpServer::start(server, "server-1", dns).expect("the VIP is there");
    let tally = udp_requests(&lab.client, dns, 1).expect("sockets");
    assert_eq!((tally.failures, agent.counter("tun", "untrusted")), (1, 1));

    // The same program with another VIP; the address stays because another role holds it.
    agent.run(&format!("dr {} --once", V4.vip()));
    agent.run("tun 10.0.0.101 --once");
    let tally = udp_requests(&lab.client, dns, 1).expect("sockets");
    assert_eq!(tally.failures, 1);
    assert_eq!(agent.counter("tun", "other_destination"), 1);

    agent.run(&format!("tun {} --once", V4.vip()));
    let tally = udp_requests(&lab.client, dns, 3).expect("sockets");
    assert_eq!(tally.failures, 0);
    front.finish();
}

#[test]
fn a_killed_agent_leaves_its_programs_at_work_and_the_next_one_takes_them_over() {
    if !available() {
        return;
    }
    let (lab, scratch) = (lab(Topology::TwoArmed), Scratch::new().expect("a folder"));
    let server = &lab.servers[0];
    let _web = WebServer::start(server, "server-1", 80, &scratch).expect("nginx");
    let services = vec![service("tun", Protocol::Tcp, (V4, 80), (V4, 80))];
    let front = Front::start(&lab, services);
    let agent = Agent::new(server);
    let attach = format!(
        "tun {} --from {}",
        V4.vip(),
        V4.balancer_back(Topology::TwoArmed)
    );
    let first = agent.stay(&attach);
    let another = agent.refused(&attach);
    assert!(
        another.contains("looked after by another lbrs"),
        "{another}"
    );

    // While connections come and go, one process is killed and another takes its place.
    let tally = std::thread::scope(|scope| {
        let requests = || HttpTally::collect(&lab.client, (V4.vip(), 80).into(), 3000);
        let requests = scope.spawn(requests);
        let counted = || agent.counter("tun", "decapsulated");
        let before = counted();
        while counted() < before + 1000 {}
        kill(first);
        assert_eq!(agent.status("tun")["keeper"], serde_json::Value::Null);
        let killed_at = counted();
        while counted() < killed_at + 1000 {}
        let second = agent.stay(&attach);
        assert!(second.log().contains("took over eth0"), "{}", second.log());
        assert!(counted() >= killed_at + 1000, "the counters went on");
        requests.join().expect("curl runs").expect("curl")
    });
    assert_eq!((tally.failures, tally.connections), (0, 3000), "{tally:?}");
    front.finish();
}
