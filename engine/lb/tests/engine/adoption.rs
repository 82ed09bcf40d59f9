//! Conns that another balancer tells of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use lb::{
    Adoption, Asked, Config, ConnFilter, ConnState, Endpoint, Engine, FlowKey, Foreign,
    ForeignTemplate, Mark, NextHops, Persistence, Protocol, ServiceConfig, ServiceId, ServiceKey,
    TemplateKey, Time,
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
        is_anew: false,
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

/// The same beside two workers, which share their packet memory and never use it.
fn beside_two_workers(engine: &Engine, ask: impl FnOnce()) {
    /// Ends the workers, also if what is asked fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let workers = engine.places(2).into_iter().map(|place| {
        let next_hops = Arc::new(ArcSwap::from_pointee(NextHops::default()));
        engine.worker_with(MemoryPort::new(64), place, next_hops, Box::new(|_, _| ()))
    });
    let workers: Vec<_> = workers.collect();
    thread::scope(|scope| {
        for mut worker in workers {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    worker.turn(Time::ZERO + Duration::from_secs(1));
                    thread::yield_now();
                }
            });
        }
        let _stop = Stop(&stop);
        ask();
    });
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

/// What each of `messages` leaves of the one conn that they are about.
#[test]
fn no_message_brings_a_conn_back_but_one_of_another_connection() {
    use ConnState::*;
    use lb::Stage;
    let told = |rip, state| told(VIP, rip, state);
    let anew = |rip| Foreign {
        is_anew: true,
        ..told(rip, Established)
    };
    let cases: &[(&str, &[Foreign], Stage, &str)] = &[
        (
            "an end stays an end",
            &[told(FIRST, FinWait), told(FIRST, Established)],
            Stage::Ending,
            FIRST,
        ),
        (
            "whatever end it was",
            &[
                told(FIRST, Close),
                told(FIRST, FinWait),
                told(FIRST, SynRecv),
            ],
            Stage::Closed,
            FIRST,
        ),
        (
            "the client has taken its port again",
            &[told(FIRST, FinWait), anew(FIRST)],
            Stage::Open,
            FIRST,
        ),
        (
            "and nothing was heard of its beginning",
            &[
                told(FIRST, Close),
                Foreign {
                    is_anew: true,
                    ..told(FIRST, FinWait)
                },
            ],
            Stage::Ending,
            FIRST,
        ),
        (
            "and nothing has ended here",
            &[told(FIRST, Established), anew(FIRST)],
            Stage::Open,
            FIRST,
        ),
        (
            "the client was sent elsewhere",
            &[told(FIRST, Established), told(SECOND, Established)],
            Stage::Open,
            SECOND,
        ),
        (
            "and the end of what was there before is told of late",
            &[
                told(FIRST, Established),
                told(SECOND, Established),
                told(FIRST, Close),
            ],
            Stage::Open,
            SECOND,
        ),
    ];
    for mode in ["dr", "nat", "tun"] {
        for (name, messages, stage, rip) in cases {
            let (_, there) = after(mode, messages);
            let there: Vec<_> = there
                .iter()
                .map(|(state, rip)| (state.stage(), *rip))
                .collect();
            assert_eq!(there, [(*stage, end(rip))], "{mode}: {name}");
        }
    }
}

/// A network of clients, by a service's address and by a mark, in both families.
#[test]
fn a_template_leads_where_another_balancers_does_and_lives_as_long() {
    let seconds = Duration::from_secs;
    let persistence = |netmask: &str| Persistence {
        timeout: seconds(300),
        netmask: end(netmask).addr,
    };
    let mark = Mark { mark: 7, v6: true };
    let servers = |service: ServiceConfig, rips: [&str; 2]| {
        rips.into_iter()
            .fold(service, |service, rip| service.with_server(end(rip), 1))
    };
    let (of_address, of_mark) = ([FIRST, SECOND], ["[2001:db8:1::b]:0", "[2001:db8:1::c]:0"]);
    let config = Config::default()
        .with_service(ServiceConfig {
            persistence: Some(persistence("255.255.255.0:0")),
            ..servers(
                ServiceConfig::new(end(VIP), Protocol::Tcp, "rr", "fnat"),
                of_address,
            )
            .with_local_address(end("10.1.0.2:0").addr)
        })
        .with_service(ServiceConfig {
            persistence: Some(persistence("[ffff:ffff::]:0")),
            ..servers(
                ServiceConfig::of(ServiceId::Mark(mark), "rr", "dr"),
                of_mark,
            )
        })
        .with_service(service("10.0.0.101:80", "dr"));
    let engine = Engine::new(&config).expect("a valid configuration");
    let of_service = |vip: &str| TemplateKey {
        client: end("192.0.2.0:0").addr,
        asked: Asked::Service(ServiceKey {
            vip: end(vip),
            protocol: Protocol::Tcp,
        }),
    };
    let v6 = TemplateKey {
        client: end("[2001:db8::]:0").addr,
        asked: Asked::Mark(7),
    };
    let template = |key, rip: &str, timeout| ForeignTemplate {
        key,
        rip: end(rip),
        timeout: seconds(timeout),
        is_assured: timeout == 0,
    };
    let key = of_service(VIP);
    beside_two_workers(&engine, || {
        for (foreign, outcome, there) in [
            (
                template(key, FIRST, 0),
                Adoption::Opened,
                (FIRST, 300, true),
            ),
            (template(key, FIRST, 60), Adoption::Known, (FIRST, 60, true)),
            (
                template(key, SECOND, 60),
                Adoption::Opened,
                (SECOND, 60, false),
            ),
            (
                template(v6, of_mark[1], 60),
                Adoption::Opened,
                (of_mark[1], 60, false),
            ),
        ] {
            let adopted = engine.adopt_templates(&[foreign]);
            assert_eq!(adopted, [outcome], "{foreign:?}");
            let mut found = Vec::new();
            engine.templates(&mut |(template, now)| {
                if template.key == foreign.key && !template.forgotten {
                    let rip = template.dest.rip();
                    let lives = template.expires_in(now).as_secs();
                    found.push((rip, lives, template.assured));
                }
                true
            });
            let (rip, lives, assured) = there;
            assert_eq!(found, [(end(rip), lives, assured)], "{foreign:?}");
        }
        for foreign in [
            template(of_service("10.0.0.99:80"), FIRST, 60),
            template(of_service("10.0.0.101:80"), FIRST, 60),
            template(key, "10.1.0.13:80", 60),
        ] {
            let adopted = engine.adopt_templates(&[foreign]);
            assert_eq!(adopted, [Adoption::NoServer], "{foreign:?}");
        }
    });
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
