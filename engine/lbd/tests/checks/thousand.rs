//! A thousand servers, each asked every second.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use lb_testkit::netns::{Namespace, Scratch, WebServer, available};

const SERVERS: u8 = 250;
const SERVICES: u8 = 4;

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(120);

/// Four services of 250 servers, all of them one nginx that has their addresses; half are asked for a page. `lbd` has no
/// interfaces: what is asked here is the checks alone.
#[test]
fn a_thousand_servers_are_asked_every_second() {
    if !available() {
        return;
    }
    let scratch = Scratch::new().expect("a folder");
    let namespace = Namespace::new("thousand").expect("a namespace");
    namespace
        .ip("route add local 10.9.0.0/16 dev lo")
        .expect("a route");
    let web = WebServer::start(&namespace, "web", 8080, &scratch).expect("nginx");
    let mut config =
        "[engine]\ninterfaces = []\n[metrics]\naddress = \"127.0.0.1:9100\"\n".to_owned();
    for service in 0..SERVICES {
        config += &format!(
            "[[service]]\nvip = \"10.8.0.{}:80\"\nprotocol = \"tcp\"\nscheduler = \"wlc\"\nmode = \"nat\"\n",
            service + 1
        );
        for server in 1..=SERVERS {
            config += &format!("[[service.server]]\nrip = \"10.9.{service}.{server}:8080\"\n");
        }
        let kind = if service % 2 == 0 { "tcp" } else { "http" };
        config += &format!(
            "[service.check]\ntype = \"{kind}\"\ninterval = \"1s\"\ntimeout = \"60s\"\ninitial = \"down\"\nfall = 1\n"
        );
    }
    let file = scratch.write("lbd.toml", config).expect("a file");
    let mut lbd = Command::new(env!("CARGO_BIN_EXE_lbd"));
    lbd.args(["run", "--config"]).arg(file);
    lbd.env("LBD_SOCKET", scratch.path().join("lbd.sock"));
    let mut lbd = namespace.spawn(lbd).expect("it starts");
    lbd.wait_for("keeping", LIMIT).expect("it starts");

    let sum = |name: &str| sum(&scrape(&namespace), name);
    let thousand = f64::from(u16::from(SERVERS) * u16::from(SERVICES));
    wait_until(|| sum("lbd_check_up{") == thousand);
    // Some seconds of it, by the clock of the checks themselves.
    let (begun, asked, time) = (
        Instant::now(),
        sum("lbd_check_passed_total"),
        "lbd_checks_processor_seconds",
    );
    let spent = sum(time);
    wait_until(|| sum("lbd_check_passed_total") >= asked + 5.0 * thousand);
    let asked = sum("lbd_check_passed_total") - asked;
    let (spent, seconds) = (sum(time) - spent, begun.elapsed().as_secs_f64());
    println!(
        "{asked} checks in {seconds:.1} s took {spent:.3} s of processor time: {:.0} us each, {:.1} % of one processor",
        spent / asked * 1e6,
        spent / seconds * 100.0
    );
    assert_eq!(sum("lbd_check_failures_total"), 0.0);

    // When all of them go at once, that is seen too.
    drop(web);
    wait_until(|| sum("lbd_check_up{") == 0.0);
    assert_eq!(sum("lbd_quorum_met"), 0.0);
}

#[track_caller]
fn wait_until(happened: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !happened() {
        assert!(Instant::now() < end, "too late");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn scrape(namespace: &Namespace) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9100));
    let scraped = namespace.run(|| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<String, std::io::Error>(text)
    });
    scraped.expect("metrics")
}

/// The sum of all series whose names begin so.
fn sum(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}
