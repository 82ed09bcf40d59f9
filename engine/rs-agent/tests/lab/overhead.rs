//! What the programs cost, as ratios to the same traffic without them. Not a test: nothing is asserted of times.
//!
//! ```text
//! cargo test --package lbrs --test lab -- --ignored --nocapture overhead
//! ```

use std::process::Command;
use std::time::Instant;

use lb::Protocol;
use lb_testkit::netns::{Family, HttpTally, Lab, Process, Scratch, Topology, WebServer};
use serde_json::Value;

use crate::rig::{Agent, Front, lab, service};

use Family::V4;

const ROUNDS: usize = 9;
const REQUESTS: u64 = 2000;
const SECONDS: &str = "2";

/// Requests, and bits, per second.
#[derive(Clone, Copy)]
struct Rates {
    requests: f64,
    bits: f64,
}

fn measure(lab: &Lab, address: std::net::IpAddr, web: u16, bulk: u16) -> Rates {
    let start = Instant::now();
    let tally = HttpTally::collect(&lab.client, (address, web).into(), REQUESTS).expect("curl");
    assert_eq!(tally.failures, 0, "{tally:?}");
    let requests = REQUESTS as f64 / start.elapsed().as_secs_f64();
    let mut iperf3 = Command::new("iperf3");
    // The other way round, for servers mostly send.
    iperf3.args(["--json", "--reverse", "--time", SECONDS, "--port"]);
    iperf3.args([&bulk.to_string(), "--client", &address.to_string()]);
    let output = lab.client.check_output(iperf3).expect("iperf3");
    let result: Value = serde_json::from_str(&output).expect("JSON");
    let bits = result["end"]["sum_received"]["bits_per_second"].as_f64();
    Rates {
        requests,
        bits: bits.expect("a rate"),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The medians of ratios between neighbours in time, since the machine is not the same from minute to minute.
fn print(name: &str, base: &[Rates], with: &[Rates]) {
    let ratio = |of: fn(&Rates) -> f64| {
        median(
            base.iter()
                .zip(with)
                .map(|(base, with)| of(with) / of(base))
                .collect(),
        )
    };
    let [requests, bits] = [ratio(|r| r.requests), ratio(|r| r.bits)];
    println!("{name:<40} requests/s x {requests:.2}  throughput x {bits:.2}");
}

fn iperf3(lab: &Lab, port: u16) -> Process {
    let mut iperf3 = Command::new("iperf3");
    iperf3.args(["--server", "--forceflush", "--port", &port.to_string()]);
    let mut process = lab.servers[0].spawn(iperf3).expect("iperf3");
    let limit = std::time::Duration::from_secs(20);
    process
        .wait_for("Server listening", limit)
        .expect("it listens");
    process
}

#[test]
#[ignore = "takes minutes and asserts nothing"]
fn overhead_for_traffic_that_does_not_come_from_a_balancer() {
    let (lab, scratch) = (lab(Topology::TwoArmed), Scratch::new().expect("a folder"));
    let _web = WebServer::start(&lab.servers[0], "server-1", 80, &scratch).expect("nginx");
    let _iperf3 = iperf3(&lab, 5201);
    let agent = Agent::new(&lab.servers[0]);
    let roles = [
        "toa --from 10.1.0.254",
        "enat 10.0.0.100",
        "tun 10.0.0.100 --from 10.1.0.254",
        "dr 10.0.0.100",
    ];
    let rates = || measure(&lab, V4.server(0), 80, 5201);
    let mut base = Vec::new();
    let mut with = vec![Vec::new(); roles.len()];
    for _ in 0..ROUNDS {
        for (role, with) in roles.iter().zip(&mut with) {
            base.push(rates());
            agent.run(&format!("{role} --once"));
            with.push(rates());
            agent.run("detach");
        }
    }
    for (index, (role, with)) in roles.iter().zip(&with).enumerate() {
        let base: Vec<Rates> = base
            .iter()
            .copied()
            .skip(index)
            .step_by(roles.len())
            .collect();
        print(role, &base, with);
    }
}

#[test]
#[ignore = "takes minutes and asserts nothing"]
fn overhead_behind_the_balancer() {
    let (lab, scratch) = (lab(Topology::TwoArmed), Scratch::new().expect("a folder"));
    let mut servers = Vec::new();
    let mut services = Vec::new();
    let modes = [("dr", 0), ("tun", 0), ("enat", 1000), ("fnat", 1000)];
    for (index, (mode, shift)) in modes.into_iter().enumerate() {
        let (web, bulk) = (81 + index as u16, 5301 + index as u16);
        for port in [web, bulk] {
            let mut service = service(mode, Protocol::Tcp, (V4, port), (V4, port + shift));
            if mode == "fnat" {
                service = service.with_local_address(V4.balancer_back(Topology::TwoArmed).into());
            }
            services.push(service);
        }
        let name = format!("server-{mode}");
        let web = WebServer::start(&lab.servers[0], &name, web + shift, &scratch).expect("nginx");
        servers.push((web, iperf3(&lab, bulk + shift)));
    }
    let front = Front::start(&lab, services);
    let agent = Agent::new(&lab.servers[0]);
    agent.run("dr 10.0.0.100 --once");
    let rates = |index: u16| measure(&lab, V4.vip(), 81 + index, 5301 + index);
    let [mut dr, mut tun, mut enat, mut fnat, mut toa] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        dr.push(rates(0));
        agent.run("tun 10.0.0.100 --from 10.1.0.254 --once");
        tun.push(rates(1));
        agent.run("detach tun");
        agent.run("enat 10.0.0.100 --once");
        enat.push(rates(2));
        agent.run("detach enat");
        fnat.push(rates(3));
        agent.run("toa --from 10.1.0.254 --once");
        toa.push(rates(3));
        agent.run("detach toa");
    }
    print("tun with lbrs : dr", &dr, &tun);
    print("enat with lbrs : dr", &dr, &enat);
    print("fnat with lbrs toa : fnat without", &fnat, &toa);
    front.finish();
}
