//! TOA: programs see the client that the option names, and nobody but a listed balancer can name one.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use lb_testkit::netns::{Family, Lab, Scratch, Topology, available};

use crate::caller::{Options, call, caller_address};
use crate::rig::{Agent, WITNESS, lab, python, seen};

use Family::{V4, V6};

const LIMIT: Duration = Duration::from_secs(30);

/// The client of the option, and how a program of each family writes it.
fn client(family: Family) -> SocketAddr {
    match family {
        V4 => "198.51.100.7:34567".parse(),
        V6 => "[2001:db8:77::7]:34567".parse(),
    }
    .expect("an address")
}

/// The option as docs/wire-formats.md has it.
pub fn option(client: SocketAddr) -> Vec<u8> {
    let (length, octets) = match client.ip() {
        IpAddr::V4(v4) => (8, v4.octets().to_vec()),
        IpAddr::V6(v6) => (20, v6.octets().to_vec()),
    };
    [&[254, length][..], &client.port().to_be_bytes(), &octets].concat()
}

/// A number for each connection, as a balancer's local port.
struct Ports(u16);

impl Ports {
    fn next(&mut self, family: Family) -> SocketAddr {
        self.0 += 1;
        (caller_address(family), self.0).into()
    }
}

fn ask(lab: &Lab, from: SocketAddr, family: Family, port: u16, options: &Options) -> String {
    let to = SocketAddr::new(family.server(0), port);
    call(lab, from, to, options, b"GET / HTTP/1.0\r\n\r\n").expect("an answer")
}

#[test]
fn the_option_counts_on_the_syn_the_handshakes_end_and_the_first_data() {
    if !available() {
        return;
    }
    let lab = lab(Topology::TwoArmed);
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let mut ports = Ports(20000);
    // One that was there before the agent, one that comes after it.
    let _early = [
        python(server, WITNESS, V4, 81),
        python(server, WITNESS, V6, 82),
    ];
    let from = [V4, V6].map(|family| caller_address(family).to_string());
    agent.run(&format!("toa --from {} --once", from.join(",")));
    let _late = [
        python(server, WITNESS, V4, 83),
        python(server, WITNESS, V6, 84),
    ];
    let mut restored = 0;
    for (family, port) in [(V4, 81), (V6, 82), (V4, 83), (V6, 84)] {
        let (client, none) = (client(family), Vec::new());
        for on in 0..3 {
            let mut segments = [none.clone(), none.clone(), none.clone()];
            segments[on] = option(client);
            let [syn, ack, data] = segments;
            let lip = ports.next(family);
            let answer = ask(&lab, lip, family, port, &Options { syn, ack, data });
            // A program that asks before there is data cannot be told what only comes with it.
            let told = [client, lip].map(|accepted| seen(accepted, client));
            let allowed = if on == 2 { &told[..] } else { &told[..1] };
            assert!(
                allowed.contains(&answer),
                "{family} port {port} {on}: {answer}"
            );
            restored += 1;
        }
        let lip = ports.next(family);
        let answer = ask(&lab, lip, family, port, &Options::default());
        assert_eq!(answer, seen(lip, lip), "{family} port {port} without");
    }
    let status = agent.status("toa");
    assert_eq!(status["counters"]["restored"], restored, "{status}");
    // Four without it, four where only the first data had it.
    assert_eq!(status["counters"]["without_option"], 8, "{status}");
    assert_eq!(status["counters"]["untrusted"], 0, "{status}");

    agent.run("detach toa");
    assert_eq!(agent.status("toa")["attached"], false);
    for (family, port) in [(V4, 81), (V6, 82), (V4, 83), (V6, 84)] {
        let lip = ports.next(family);
        let syn = option(client(family));
        let answer = ask(
            &lab,
            lip,
            family,
            port,
            &Options {
                syn,
                ..Options::default()
            },
        );
        assert_eq!(answer, seen(lip, lip), "{family} port {port} detached");
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_server_is_shown_as_the_kernel_would() {
    if !available() {
        return;
    }
    let lab = lab(Topology::TwoArmed);
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    agent.run("toa --once");
    let _witness = python(server, WITNESS, V6, 81);
    let syn = option(client(V4));
    let lip = (caller_address(V4), 20001).into();
    let answer = ask(
        &lab,
        lip,
        V4,
        81,
        &Options {
            syn,
            ..Options::default()
        },
    );
    let text = "accept ::ffff:198.51.100.7 34567 getpeername ::ffff:198.51.100.7 34567\n";
    assert_eq!(answer, text);
}

#[test]
fn nobody_but_a_listed_balancer_is_believed() {
    if !available() {
        return;
    }
    let lab = lab(Topology::TwoArmed);
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    agent.run("toa --from 10.9.0.0/16 --once");
    let _witness = python(server, WITNESS, V4, 81);
    let mut ports = Ports(20000);
    let both = || option(client(V4));
    for (syn, ack) in [(both(), Vec::new()), (Vec::new(), both())] {
        let lip = ports.next(V4);
        let options = Options {
            syn,
            ack,
            ..Options::default()
        };
        assert_eq!(ask(&lab, lip, V4, 81, &options), seen(lip, lip));
    }
    assert_eq!(agent.counter("toa", "untrusted"), 2);
    assert_eq!(agent.counter("toa", "restored"), 0);
}

#[test]
fn programs_as_they_are_shipped_see_the_client() {
    if !available() {
        return;
    }
    let (lab, scratch) = (lab(Topology::TwoArmed), Scratch::new().expect("a folder"));
    let server = &lab.servers[0];
    let agent = Agent::new(server);
    let mut ports = Ports(20000);
    agent.run(&format!("toa --from {} --once", caller_address(V4)));
    let mut ask = |port| {
        let (syn, lip) = (option(client(V4)), ports.next(V4));
        let options = Options {
            syn,
            ..Options::default()
        };
        ask(&lab, lip, V4, port, &options)
    };

    let folder = scratch.path().display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}
         http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
           fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
           server {{ listen 80; return 200 \"$remote_addr $remote_port\"; }} }}"
    );
    let config = scratch.write("nginx.conf", config).expect("a file");
    let mut nginx = Command::new("nginx");
    nginx.args(["-e", "stderr", "-p", &folder.to_string(), "-c"]);
    nginx.arg(config);
    let _nginx = server.spawn(nginx).expect("nginx");
    wait_until_it_listens(&lab, 80);
    let answer = ask(80);
    assert!(answer.ends_with("\r\n\r\n198.51.100.7 34567"), "{answer}");

    let mut http = Command::new("python3");
    http.args([
        "-u",
        "-m",
        "http.server",
        "81",
        "--directory",
        &folder.to_string(),
    ]);
    let mut http = server.spawn(http).expect("python");
    wait_until_it_listens(&lab, 81);
    ask(81);
    http.wait_for("198.51.100.7 - - [", LIMIT)
        .expect("its access log");

    let mut nc = Command::new("sh");
    nc.args(["-c", "echo hello | nc -n -v -l 82"]);
    let mut nc = server.spawn(nc).expect("nc");
    nc.wait_for("Listening", LIMIT).expect("it listens");
    ask(82);
    nc.wait_for("Connection received on 198.51.100.7 34567", LIMIT)
        .expect("it says who called");
}

/// Connects until that works, as a client whose kernel does it.
fn wait_until_it_listens(lab: &Lab, port: u16) {
    let server = SocketAddr::new(V4.server(0), port);
    let end = std::time::Instant::now() + LIMIT;
    while let Err(error) = lab.client.run(|| TcpStream::connect(server)) {
        assert!(std::time::Instant::now() < end, "{error}");
    }
}
