//! What is told about a packet before it comes is what happens when it does.

use std::time::Duration;

use crate::adoption::beside_a_worker;
use lb::{
    Addr, Choice, Config, DropReason, Endpoint, Engine, FlowKey, Mark, MarkRule, Persistence,
    Prefix, Protocol, SchedulerFlags, ServiceConfig, ServiceId, ServiceSpec, Why,
};

const CIP: &str = "192.0.2.1:4000";

fn end(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

fn marked(mode: &str) -> ServiceConfig {
    let id = ServiceId::Mark(Mark { mark: 7, v6: false });
    ServiceConfig::of(id, "rr", mode).with_server(end("10.1.0.11:0"), 1)
}

fn kept(mut service: ServiceConfig) -> ServiceConfig {
    service.persistence = Some(Persistence {
        timeout: Duration::from_secs(300),
        netmask: Addr::v4([255; 4]),
    });
    service
}

/// With this service and mark 7 for 198.51.100.0/24.
fn engine(service: ServiceConfig) -> Engine {
    let mut config = Config::default().with_service(service);
    config.engine.capacity = 100;
    config.marks = vec![MarkRule {
        mark: 7,
        destination: Prefix::new(Addr::v4([198, 51, 100, 0]), 24),
        protocol: None,
        ports: None,
    }];
    Engine::new(&config).expect("valid")
}

/// What is told about a packet to `vip`.
fn why(engine: &Engine, vip: &str) -> Why {
    let flow = FlowKey {
        source: end(CIP),
        destination: end(vip),
        protocol: Protocol::Tcp,
    };
    let told = beside_a_worker(engine, || engine.why(flow));
    // Workers of earlier questions are gone.
    told.into_iter()
        .flatten()
        .next()
        .expect("a worker's answer")
}

#[test]
fn a_packet_with_a_mark_goes_to_the_port_that_it_was_sent_to() {
    for (mode, seen) in [("nat", "10.1.0.11:443"), ("dr", "198.51.100.9:443")] {
        for service in [marked(mode), kept(marked(mode))] {
            let told = why(&engine(service), "198.51.100.9:443");
            assert!(matches!(&told.choice, Choice::Server(_)), "{told:?}");
            assert_eq!(told.rewritten, Some((end(CIP), end(seen))), "{mode}");
        }
    }
}

/// A file cannot ask for such a service, and ipvsadm can.
#[test]
fn a_service_of_every_port_refuses_clients_that_it_does_not_keep() {
    let every = ServiceConfig::new(end("10.0.0.100:0"), Protocol::Tcp, "rr", "nat");
    let every = kept(every.with_server(end("10.1.0.12:8080"), 1));
    let spec = ServiceSpec {
        id: every.id,
        scheduler: "rr".to_owned(),
        scheduler_flags: SchedulerFlags::default(),
        persistence: None,
        persistence_engine: None,
        one_packet: false,
        full_nat: None,
    };
    let engine = engine(every);
    let told = why(&engine, "10.0.0.100:8443");
    assert!(matches!(told.choice, Choice::Server(_)), "{told:?}");
    // The server's own port is for those who ask for the service's, which nobody can.
    let seen = (end(CIP), end("10.1.0.12:8443"));
    assert_eq!(told.rewritten, Some(seen));

    engine
        .edit(|table| table.edit_service(&spec))
        .expect("there");
    let told = why(&engine, "10.0.0.100:8443");
    let refused = matches!(told.choice, Choice::Refused(DropReason::NoDest));
    assert!(refused, "{told:?}");
    assert_eq!(told.rewritten, None);
}
