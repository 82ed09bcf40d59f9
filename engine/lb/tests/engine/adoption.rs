//! Conns that another balancer tells of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lb::{
    Adoption, Config, ConnFilter, ConnState, Endpoint, Engine, FlowKey, Foreign, Protocol,
    ServiceConfig, Time,
};
use lb_testkit::MemoryPort;

const VIP: &str = "10.0.0.100:80";
const FIRST: &str = "10.1.0.11:80";
const SECOND: &str = "10.1.0.12:80";

fn end(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

fn service(vip: &str, mode: &str) -> ServiceConfig {
    let mut service = ServiceConfig::new(end(vip), Protocol::Tcp, "rr", mode)
        .with_server(end(FIRST), 1)
        .with_server(end(SECOND), 1);
    if mode == "fnat" {
        service = service.with_local_address(end("10.1.0.2:0").addr);
    }
    service
}

fn told(vip: &str, rip: &str, state: ConnState) -> Foreign {
    Foreign {
        flow: FlowKey {
            source: end("192.0.2.1:4000"),
            destination: end(vip),
            protocol: Protocol::Tcp,
        },
        rip: end(rip),
        state,
    }
}

/// Lets a worker of `engine` go on while `ask` asks.
pub fn beside_a_worker<T>(engine: &Engine, ask: impl FnOnce() -> T) -> T {
    let mut worker = engine.worker(MemoryPort::new(64));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                worker.turn(Time::ZERO + Duration::from_secs(1));
                thread::yield_now();
            }
        });
        let answer = ask();
        stop.store(true, Ordering::Relaxed);
        answer
    })
}

/// The states and servers of all conns after `conns` were told of one after the other, and what became of each.
fn after(mode: &str, conns: &[Foreign]) -> (Vec<Adoption>, Vec<(ConnState, Endpoint)>) {
    let config = Config::default().with_service(service(VIP, mode));
    let engine = Engine::new(&config).expect("a valid configuration");
    beside_a_worker(&engine, || {
        let told = conns.iter().flat_map(|conn| engine.adopt(&[*conn]));
        let outcomes = told.collect();
        let mut there = Vec::new();
        engine.conns(ConnFilter::default(), &mut |record| {
            there.push((record.state, record.rip));
            true
        });
        (outcomes, there)
    })
}

#[test]
fn a_conn_is_opened_at_the_server_that_was_told_and_follows_its_state() {
    use ConnState::*;
    for mode in ["dr", "nat", "tun"] {
        let one = |state| told(VIP, SECOND, state);
        let (outcomes, there) = after(mode, &[one(Established), one(Established)]);
        assert_eq!(outcomes, [Adoption::Opened, Adoption::Known], "{mode}");
        assert_eq!(there, [(Established, end(SECOND))], "{mode}");
        let (_, there) = after(mode, &[one(Established), one(FinWait)]);
        assert!(
            matches!(there[..], [(FinWait | CloseWait, _)]),
            "{mode} {there:?}"
        );
        let (_, there) = after(mode, &[one(Close)]);
        assert_eq!(there, [(Close, end(SECOND))], "{mode}");
    }
}

#[test]
fn what_is_told_last_counts() {
    let conns = [FIRST, SECOND].map(|rip| told(VIP, rip, ConnState::Established));
    let (outcomes, there) = after("dr", &conns);
    assert_eq!(outcomes, [Adoption::Opened; 2]);
    assert!(
        there.contains(&(ConnState::Established, end(SECOND))),
        "{there:?}"
    );
}

#[test]
fn what_has_no_place_here_is_refused() {
    let established = ConnState::Established;
    for (mode, vip, rip, expected) in [
        ("dr", "10.0.0.101:80", FIRST, Adoption::NoServer),
        ("dr", VIP, "10.1.0.13:80", Adoption::NoServer),
        ("fnat", VIP, FIRST, Adoption::NotPortable),
    ] {
        let (outcomes, there) = after(mode, &[told(vip, rip, established)]);
        assert_eq!(
            (&outcomes[..], there.len()),
            (&[expected][..], 0),
            "{mode} {vip} {rip}"
        );
    }
}
