//! TOA behind the real balancer, which writes the option itself.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use lb::{ClientAddress, Protocol, ServiceConfig};
use lb_testkit::netns::{Family, Lab, Scratch, Topology, WebServer, available};

use crate::caller::{Options, call, caller_address};
use crate::rig::{Agent, Front, WITNESS, ask, footprint, lab, python, seen, service};
use crate::toa::option;

use Family::V4;

const LIMIT: Duration = Duration::from_secs(30);
const REQUEST: &[u8] = b"GET /who HTTP/1.0\r\n\r\n";

/// The services' ports, and the servers' that are 8000 more.
const WITNESSED: u16 = 80;
const WEB: u16 = 81;
const NETCAT: u16 = 82;
const UNTOLD: u16 = 83;

fn lip(family: Family) -> IpAddr {
    family.local_address(Topology::Routed)
}

fn services() -> Vec<ServiceConfig> {
    let mut services = Vec::new();
    for family in Family::BOTH {
        for port in [WITNESSED, WEB, NETCAT, UNTOLD] {
            let mut service = service("fnat", Protocol::Tcp, (family, port), (family, port + 8000))
                .with_local_address_on(lip(family).into(), "eth1");
            if port == UNTOLD {
                service.client_address = Some(ClientAddress::None);
            }
            services.push(service);
        }
    }
    services
}

/// What accept() and getpeername() say of a client whose SYN, handshake and request have these options already.
fn ask_with(lab: &Lab, family: Family, port: u16, options: &Options) -> (SocketAddr, String) {
    let from = SocketAddr::new(caller_address(family), port);
    let to = SocketAddr::new(family.vip(), WITNESSED);
    (
        from,
        call(lab, from, to, options, REQUEST).expect("an answer"),
    )
}

#[test]
fn unmodified_programs_behind_full_nat_see_the_client() {
    if !available() {
        return;
    }
    let (lab, scratch) = (lab(Topology::Routed), Scratch::new().expect("a folder"));
    let server = &lab.servers[0];
    let front = Front::start(&lab, services());
    let before = footprint(server);
    let agent = Agent::new(server);
    let lips = Family::BOTH.map(|family| lip(family).to_string()).join(",");
    let _web = WebServer::start(server, "server-1", WEB + 8000, &scratch).expect("nginx");
    agent.run(&format!("toa --from {lips} --once"));
    let mut restored = 0;
    for family in Family::BOTH {
        let at = |port| SocketAddr::new(family.vip(), port);
        let _witness = python(server, WITNESS, family, WITNESSED + 8000);
        let _untold = python(server, WITNESS, family, UNTOLD + 8000);
        for _ in 0..10 {
            let (client, answer) = ask(&lab, at(WITNESSED), REQUEST).expect("an answer");
            assert_eq!(answer, seen(client, client), "{family}");
        }
        let (client, answer) = ask(&lab, at(WEB), REQUEST).expect("nginx answers");
        let said = format!("\r\n\r\n{} {}", client.ip(), client.port());
        assert!(answer.ends_with(&said), "{family} {client}: {answer}");

        let mut nc = Command::new("sh");
        let listen = if family == V4 { "-4" } else { "-6" };
        nc.args([
            "-c",
            &format!("echo hello | nc {listen} -N -n -v -l {}", NETCAT + 8000),
        ]);
        let mut nc = server.spawn(nc).expect("nc");
        nc.wait_for("Listening", LIMIT).expect("it listens");
        let (client, answer) = ask(&lab, at(NETCAT), REQUEST).expect("nc answers");
        assert_eq!(answer, "hello\n");
        let said = format!("Connection received on {} {}", client.ip(), client.port());
        nc.wait_for(&said, LIMIT).expect("it says who called");
        restored += 12;

        // A service whose servers are told nothing, and so see the balancer.
        let (_, answer) = ask(&lab, at(UNTOLD), REQUEST).expect("an answer");
        let balancer = format!("accept {} ", lip(family));
        assert!(answer.starts_with(&balancer), "{family}: {answer}");
    }
    let status = agent.status("toa");
    assert_eq!(status["counters"]["restored"], restored, "{status}");
    assert_eq!(status["counters"]["without_option"], 2, "{status}");
    assert_eq!(status["counters"]["untrusted"], 0, "{status}");

    agent.run("detach");
    footprint(server).assert_is(&before);
    let _witness = python(server, WITNESS, V4, WITNESSED + 8000);
    let (_, answer) = ask(&lab, (V4.vip(), WITNESSED).into(), REQUEST).expect("an answer");
    assert!(
        answer.starts_with(&format!("accept {} ", lip(V4))),
        "{answer}"
    );
    front.finish();
}

#[test]
fn the_balancer_tells_as_early_as_there_is_room_and_nobody_tells_in_its_place() {
    if !available() {
        return;
    }
    let lab = lab(Topology::Routed);
    let server = &lab.servers[0];
    let front = Front::start(&lab, services());
    let agent = Agent::new(server);
    let lips = Family::BOTH.map(|family| lip(family).to_string()).join(",");
    agent.run(&format!("toa --from {lips} --once"));
    let full = || vec![1; 40];
    let mut port = 20000;
    for family in Family::BOTH {
        let _witness = python(server, WITNESS, family, WITNESSED + 8000);
        let options = [
            Options::default(),
            // No room on the SYN; nor on the end of the handshake.
            Options {
                syn: full(),
                ..Options::default()
            },
            Options {
                syn: full(),
                ack: full(),
                ..Options::default()
            },
            // What a client says of itself.
            Options {
                syn: option("203.0.113.9:9".parse().expect("an address")),
                ..Options::default()
            },
        ];
        for options in options {
            port += 1;
            let (from, answer) = ask_with(&lab, family, port, &options);
            // With the first data it comes too late for a program that has asked before.
            let told = answer.split_once(" getpeername ").map(|(_, later)| later);
            let later = format!("{} {}\n", from.ip(), from.port());
            assert_eq!(told, Some(&*later), "{family} {options:?}: {answer}");
            if options.ack.is_empty() {
                assert_eq!(answer, seen(from, from), "{family} {options:?}");
            }
        }
        // Somebody who does not come by way of the balancer.
        let stranger = SocketAddr::new(caller_address(family), 30000);
        let direct = SocketAddr::new(family.server(0), WITNESSED + 8000);
        let syn = option((family.client(), 1).into());
        let options = Options {
            syn,
            ..Options::default()
        };
        let answer = call(&lab, stranger, direct, &options, REQUEST).expect("an answer");
        assert_eq!(answer, seen(stranger, stranger), "{family}");
    }
    let status = agent.status("toa");
    assert_eq!(status["counters"]["restored"], 8, "{status}");
    // Once for each family: those who are told with the first data.
    assert_eq!(status["counters"]["without_option"], 2, "{status}");
    assert_eq!(status["counters"]["untrusted"], 2, "{status}");
    front.finish();
}
