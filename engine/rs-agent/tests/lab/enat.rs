//! ENAT: what the balancer began is completed on the server, and answers do not come back to the balancer.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use lb::Protocol;
use lb_testkit::netns::{
    Family, HttpTally, Lab, LineServer, Scratch, SinkServer, Topology, WebServer, available, sha256,
};

use crate::caller::{Options, call, caller_address};
use crate::rig::{
    Agent, Front, WITNESS, ask, connect, footprint, kill, lab, python, seen, service,
};

use Family::{V4, V6};

const LIMIT: Duration = Duration::from_secs(30);
const DATAGRAMS: &str = include_str!("datagrams.py");
const WHO: &[u8] = b"who am I?\n";

/// Sends a datagram of `length` bytes that asks for `wanted` bytes, and returns who it was from and the answer.
fn ask_udp(
    lab: &Lab,
    to: SocketAddr,
    length: usize,
    wanted: usize,
) -> io::Result<(SocketAddr, String)> {
    ask_udp_for(lab, to, length, wanted, LIMIT)
}

/// The same, but waits only so long for the answer.
fn ask_udp_for(
    lab: &Lab,
    to: SocketAddr,
    length: usize,
    wanted: usize,
    limit: Duration,
) -> io::Result<(SocketAddr, String)> {
    lab.client.run(|| {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => "::".parse().expect("an address"),
        };
        // No two conversations have one port, and with it one flow: the kernel may give one again that was closed.
        static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);
        let socket = UdpSocket::bind((any, NEXT_PORT.fetch_add(1, Ordering::Relaxed)))?;
        // Answers from anybody but `to` do not reach a connected socket.
        socket.connect(to)?;
        socket.set_read_timeout(Some(limit))?;
        socket.send(format!("{wanted:<length$}").as_bytes())?;
        let mut answer = vec![0; 65536];
        let received = socket.recv(&mut answer)?;
        answer.truncate(received);
        Ok((
            socket.local_addr()?,
            String::from_utf8_lossy(&answer).into_owned(),
        ))
    })
}

/// The agent's arguments for the lab's services, where the VIP's ports are others than the server's.
fn attach() -> String {
    format!("enat {} {} --port [{1}]:80=8080", V4.vip(), V6.vip())
}

#[test]
fn programs_see_the_client_and_answer_it_directly_until_detached() {
    if !available() {
        return;
    }
    let lab = lab(Topology::Routed);
    let server = &lab.servers[0];
    let before = footprint(server);
    let agent = Agent::new(server);
    for family in Family::BOTH {
        let web = (family.vip(), 80).into();
        let services = vec![service("enat", Protocol::Tcp, (family, 80), (family, 8080))];
        let front = Front::start(&lab, services);
        let _witness = python(server, WITNESS, family, 8080);
        agent.run(&format!("{} --once", attach()));
        for _ in 0..20 {
            let (client, answer) = ask(&lab, web, WHO).expect("an answer");
            assert_eq!(answer, seen(client, client));
        }
        let status = agent.status("enat");
        assert_eq!(status["flows"]["used"], 20, "{status}");
        assert_eq!(status["counters"]["learned"], 20, "{status}");
        assert_eq!(status["counters"]["unknown"], 0, "{status}");
        // All that the balancer has sent were the client's packets, to this server.
        let counters = front.finish().counters;
        let mut counters = counters
            .nonzero()
            .map(|(name, value)| (name.to_string(), value));
        let sent = counters
            .find(|(name, _)| name == "tx")
            .expect("it is counted");
        assert_eq!(sent.1, agent.counter("enat", "restored"));

        agent.run("detach");
        footprint(server).assert_is(&before);
        // A server without the agent is seen through the balancer, and sees the balancer.
        let services = vec![service("enat", Protocol::Tcp, (family, 80), (family, 8080))];
        let front = Front::start(&lab, services);
        let (_, answer) = ask(&lab, web, WHO).expect("an answer");
        assert!(
            answer.starts_with(&format!("accept {} ", family.vip())),
            "{answer}"
        );
        front.finish();
    }
}

#[test]
fn a_connection_is_for_who_listens_on_the_servers_port_and_nobody_else() {
    if !available() {
        return;
    }
    let (lab, scratch) = (lab(Topology::TwoArmed), Scratch::new().expect("a folder"));
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let services = vec![service("enat", Protocol::Tcp, (V4, 80), (V4, 8080))];
    let front = Front::start(&lab, services);
    agent.run(&format!("{} --once", attach()));
    let web = (V4.vip(), 80).into();

    let refused = ask(&lab, web, WHO).expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    // The server's port is bound to RIP alone, the VIP's to everything: the wrong one.
    let _wrong = WebServer::start(server, "wrong", 80, &scratch).expect("nginx");
    let right = LineServer::start(server, (V4.server(0), 8080).into()).expect("a server");
    let greeting = lab.client.run(|| {
        let stream = TcpStream::connect(web)?;
        BufReader::new(stream).lines().next().expect("a line")
    });
    assert_eq!(greeting.expect("a greeting"), "SSH-2.0-lab");

    drop(right);
    let dropped = lab
        .client
        .run(|| TcpStream::connect_timeout(&web, Duration::from_secs(2)));
    assert!(dropped.is_err(), "the wrong server has it");
    assert!(agent.counter("enat", "no_server") >= 1);
    front.finish();
}

#[test]
fn datagrams_come_from_the_client_and_leave_as_the_vips_in_fragments_too() {
    if !available() {
        return;
    }
    let lab = lab(Topology::Routed);
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let services = Family::BOTH
        .map(|family| service("enat", Protocol::Udp, (family, 53), (family, 5353)))
        .to_vec();
    let front = Front::start(&lab, services);
    agent.run(&format!("{} --once", attach()));
    for family in Family::BOTH {
        let dns = (family.vip(), 53).into();
        let closed = ask_udp(&lab, dns, 10, 10).expect_err("nobody listens");
        assert_eq!(closed.kind(), io::ErrorKind::ConnectionRefused, "{family}");
        let _server = python(server, DATAGRAMS, family, 5353);
        for (length, wanted) in [(10, 10), (10, 5000), (1000, 1000)] {
            let (client, answer) = ask_udp(&lab, dns, length, wanted).expect("an answer");
            let head = format!("{} {} {length} ", client.ip(), client.port());
            assert!(
                answer.starts_with(&head),
                "{head}: {}",
                &answer[..60.min(answer.len())]
            );
            assert_eq!(answer.len(), head.len() + wanted);
        }
    }
    let status = agent.status("enat");
    assert_eq!(status["counters"]["errors"], 2, "{status}");
    assert_eq!(status["counters"]["failed"], 0, "{status}");
    // Four conversations of each family, two flows for each.
    assert_eq!(status["flows"]["used"], 16, "{status}");

    // The way to the clients becomes narrower: one answer is lost, the router says so, and the next one comes in fragments.
    let router = lab.router().expect("a lab with a router");
    router.ip("link set eth0 mtu 1300").expect("an MTU");
    for family in Family::BOTH {
        let dns = (family.vip(), 53).into();
        let _server = python(server, DATAGRAMS, family, 5353);
        let lost = ask_udp_for(&lab, dns, 10, 1400, Duration::from_millis(500));
        assert_eq!(
            lost.expect_err("it is too large").kind(),
            io::ErrorKind::WouldBlock
        );
        ask_udp(&lab, dns, 10, 1400).unwrap_or_else(|error| panic!("{family}: {error}"));
    }
    assert_eq!(agent.counter("enat", "errors"), 4);
    front.finish();
}

#[test]
fn large_transfers_arrive_intact_also_where_the_way_narrows() {
    if !available() {
        return;
    }
    let (lab, scratch) = (lab(Topology::Routed), Scratch::new().expect("a folder"));
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let web = |family: Family| service("enat", Protocol::Tcp, (family, 80), (family, 8080));
    let sink = service("enat", Protocol::Tcp, (V4, 9000), (V4, 9001));
    let front = Front::start(&lab, vec![web(V4), web(V6), sink]);
    agent.run(&format!("{} --once", attach()));
    let _web = WebServer::start(server, "server-1", 8080, &scratch).expect("nginx");
    let _sink = SinkServer::start(server, (V4.server(0), 9001).into()).expect("a server");
    // The way to the clients is narrower than the servers know. What the router says of their answers, it says to the VIP.
    let router = lab.router().expect("a lab with a router");
    router.ip("link set eth0 mtu 1300").expect("an MTU");
    let content: Vec<u8> = (0..20_000_000u32).map(|n| (n / 7) as u8).collect();
    scratch.write("file", &content).expect("a file");
    let digest = sha256(&mut &content[..]).expect("a digest");

    let uploaded = SinkServer::upload(&lab.client, (V4.vip(), 9000).into(), &mut &content[..]);
    assert_eq!(uploaded.expect("an upload"), digest);
    let mut errors = 0;
    for family in Family::BOTH {
        let url = format!("http://{}/files/file", SocketAddr::from((family.vip(), 80)));
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--fail",
            "--noproxy",
            "*",
            "--max-time",
            "60",
            &url,
        ]);
        let output = lab.client.output(curl).expect("curl");
        let status = agent.status("enat");
        assert!(
            output.status.success(),
            "{family}: {:?} {status}",
            output.status
        );
        assert_eq!(sha256(&mut &output.stdout[..]).expect("a digest"), digest);
        let known = agent.counter("enat", "errors");
        assert!(known > errors, "{family}: no error was translated");
        errors = known;
    }
    let status = agent.status("enat");
    assert_eq!(status["counters"]["failed"], 0, "{status}");
    front.finish();
}

#[test]
fn clients_leave_room_for_the_option() {
    if !available() {
        return;
    }
    let lab = lab(Topology::Routed);
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let session = |family| service("enat", Protocol::Tcp, (family, 22), (family, 2222));
    let front = Front::start(&lab, Family::BOTH.map(session).to_vec());
    agent.run(&format!(
        "{} --port [{}]:22=2222 --once",
        attach(),
        V6.vip()
    ));
    // An MTU of 1500 without IP's header, TCP's, its time stamps, and the option.
    for (family, size) in [
        (V4, 1500 - 20 - 20 - 12 - 12),
        (V6, 1500 - 40 - 20 - 12 - 20),
    ] {
        let _lines = LineServer::start(server, (family.server(0), 2222).into()).expect("a server");
        let session = lab.client.run(|| connect((family.vip(), 22).into()));
        let session = session.expect("a session");
        let mut greeting = String::new();
        let mut lines = BufReader::new(&session);
        lines.read_line(&mut greeting).expect("a greeting");
        let mut ss = Command::new("ss");
        ss.args([
            "-Htin",
            "dst",
            &SocketAddr::new(family.vip(), 22).to_string(),
        ]);
        let said = lab.client.check_output(ss).expect("ss");
        let mss = said
            .split_whitespace()
            .find_map(|word| word.strip_prefix("mss:"));
        assert_eq!(mss, Some(&*size.to_string()), "{family}: {said}");
    }
    front.finish();
}

#[test]
fn conversations_outlive_the_agent_and_its_successor_knows_them() {
    if !available() {
        return;
    }
    let (lab, scratch) = (lab(Topology::TwoArmed), Scratch::new().expect("a folder"));
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let services = vec![
        service("enat", Protocol::Tcp, (V4, 80), (V4, 8080)),
        service("enat", Protocol::Tcp, (V4, 22), (V4, 2222)),
    ];
    let front = Front::start(&lab, services);
    let first = agent.stay(&attach());
    let _web = WebServer::start(server, "server-1", 8080, &scratch).expect("nginx");
    let _lines = LineServer::start(server, (V4.server(0), 2222).into()).expect("a server");
    let mut session = lab
        .client
        .run(|| TcpStream::connect((V4.vip(), 22)))
        .expect("a session");
    session.set_read_timeout(Some(LIMIT)).expect("a limit");
    let mut lines = BufReader::new(session.try_clone().expect("a handle")).lines();
    let mut line = || lines.next().expect("a line").expect("a line");
    assert_eq!(line(), "SSH-2.0-lab");

    let tally = std::thread::scope(|scope| {
        let requests = || HttpTally::collect(&lab.client, (V4.vip(), 80).into(), 2000);
        let requests = scope.spawn(requests);
        let counted = || agent.counter("enat", "restored");
        let before = counted();
        while counted() < before + 1000 {}
        kill(first);
        let killed_at = counted();
        while counted() < killed_at + 1000 {}
        session.write_all(b"still there?\n").expect("sent");
        assert_eq!(line(), "still there?");
        let second = agent.stay(&attach());
        assert!(second.log().contains("took over eth0"), "{}", second.log());
        session.write_all(b"and now?\n").expect("sent");
        assert_eq!(line(), "and now?");
        requests.join().expect("curl runs").expect("curl")
    });
    assert_eq!((tally.failures, tally.connections), (0, 2000), "{tally:?}");
    front.finish();
}

#[test]
fn the_option_from_anybody_but_a_vip_is_ignored_and_counted() {
    if !available() {
        return;
    }
    let lab = lab(Topology::TwoArmed);
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    agent.run("enat 10.0.0.100 --once");
    let _witness = python(server, WITNESS, V4, 8080);
    let syn = vec![254, 12, 0x12, 0x34, 192, 0, 2, 1, 0, 80, 0x45, 0x4e];
    let from = SocketAddr::new(caller_address(V4), 20001);
    let options = Options {
        syn,
        ..Options::default()
    };
    let to = SocketAddr::new(V4.server(0), 8080);
    let answer = call(&lab, from, to, &options, WHO).expect("an answer");
    assert!(answer.starts_with("accept 10.0.0.77 20001 "), "{answer}");
    let status = agent.status("enat");
    assert_eq!(status["counters"]["untrusted"], 1, "{status}");
    assert_eq!(status["flows"]["used"], 0, "{status}");
}
