//! TUN: packets come out of their tunnel, and only those that should.

use std::fmt;
use std::net::SocketAddr;

use lb::{Protocol, ServiceConfig, Tunnel, TunnelChecksum};
use lb_testkit::netns::{
    Family, Lab, LineServer, Topology, UdpServer, available, tcp_exchange, udp_requests,
};

use crate::rig::{Agent, Front, footprint, lab, service};

use Family::{V4, V6};

/// Something that can be around a packet, and the port of the services whose packets it is around.
struct Case {
    inner: Family,
    outer: Family,
    tunnel: Tunnel,
    port: u16,
}

/// Each pair of families in each encapsulation.
fn cases() -> Vec<Case> {
    use TunnelChecksum::{Absent, Present};
    let gue = |checksum| Tunnel::Gue {
        port: 6080,
        checksum,
    };
    let gre = |checksum| Tunnel::Gre { checksum };
    let tunnels = [
        Tunnel::Ipip,
        gue(Absent),
        gue(Present),
        gre(Absent),
        gre(Present),
    ];
    let pairs = [(V4, V4), (V4, V6), (V6, V4), (V6, V6)];
    let cases = pairs
        .iter()
        .flat_map(|pair| tunnels.map(|tunnel| (pair, tunnel)));
    cases
        .zip(7001..)
        .map(|((&(inner, outer), tunnel), port)| Case {
            inner,
            outer,
            tunnel,
            port,
        })
        .collect()
}

impl Case {
    fn services(&self) -> [ServiceConfig; 2] {
        [Protocol::Tcp, Protocol::Udp].map(|protocol| {
            let (vip, rip) = ((self.inner, self.port), (self.outer, self.port));
            let mut service = service("tun", protocol, vip, rip);
            service.servers[0].tunnel = self.tunnel;
            service
        })
    }

    fn address(&self) -> SocketAddr {
        (self.inner.vip(), self.port).into()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?} over {}", self.inner, self.tunnel, self.outer)
    }
}

/// Which services answer a datagram; all are asked at the same time.
fn answering(lab: &Lab, cases: &[Case]) -> usize {
    std::thread::scope(|scope| {
        let asked: Vec<_> = cases
            .iter()
            .map(|case| scope.spawn(|| udp_requests(&lab.client, case.address(), 1)))
            .collect();
        let answered = asked.into_iter().map(|asked| {
            let tally = asked.join().expect("no panic").expect("sockets");
            tally.failures == 0
        });
        answered.filter(|answered| *answered).count()
    })
}

#[test]
fn every_family_in_every_encapsulation_is_taken_out_if_it_comes_from_the_balancer() {
    if !available() {
        return;
    }
    let (lab, cases) = (lab(Topology::Routed), cases());
    let server = &lab.servers[0];
    let front = Front::start(&lab, cases.iter().flat_map(Case::services).collect());
    let before = footprint(server);
    let agent = Agent::new(server);
    let vips = Family::BOTH
        .map(|family| family.vip().to_string())
        .join(" ");

    // The balancer's other addresses do not count.
    agent.run(&format!("tun {vips} --from 10.0.0.254,2001:db8::fe --once"));
    let udp = |case: &Case| UdpServer::start(server, "server-1", case.address());
    let _udp: Vec<_> = cases
        .iter()
        .map(|case| udp(case).expect("a server"))
        .collect();
    let tcp = |case: &Case| LineServer::start(server, case.address());
    let _tcp: Vec<_> = cases
        .iter()
        .map(|case| tcp(case).expect("a server"))
        .collect();
    assert_eq!(answering(&lab, &cases), 0);
    assert_eq!(agent.counter("tun", "untrusted"), cases.len() as u64);

    let from = Family::BOTH.map(|family| family.balancer_back(Topology::Routed).to_string());
    agent.run(&format!("tun {vips} --from {} --once", from.join(",")));
    let mut taken_out = 0;
    for case in &cases {
        let tally = udp_requests(&lab.client, case.address(), 3).expect("sockets");
        assert_eq!(tally.failures, 0, "{case}");
        tcp_exchange(&lab.client, case.address(), 10)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        // Three datagrams; the handshake's two segments and ten lines.
        taken_out += 3 + 2 + 10;
        let counted = agent.counter("tun", "decapsulated");
        assert!(counted >= taken_out, "{case}: {counted}");
        taken_out = counted;
    }
    let status = agent.status("tun");
    assert_eq!(status["interfaces"][0], "eth0", "{status}");
    assert_eq!(status["counters"]["untrusted"], cases.len(), "{status}");

    agent.run("detach");
    footprint(server).assert_is(&before);
    assert_eq!(agent.status("tun")["attached"], false);
    assert_eq!(answering(&lab, &cases), 0);
    front.finish();
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
