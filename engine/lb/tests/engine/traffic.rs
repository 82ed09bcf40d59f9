//! What services and servers count, over the lives of both.

use crate::lab::*;
use lb::{Endpoint, Protocol, ServerSpec, ServiceSpec, Thresholds, Traffic, Tunnel};
use lb_testkit::{PacketBuilder, pkt};

/// 40 bytes of IP.
fn syn(cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(CLIENT_MAC, ETH0_MAC)
        .ipv4(CIP, VIP)
        .tcp(cport, 80)
        .syn()
}

fn lab() -> Lab {
    let service = service("nat", Protocol::Tcp);
    Lab::new(vec![with_servers(service, 1, 8080)])
}

fn rip_of(server: u8) -> Endpoint {
    Endpoint::new(rip(server).into(), 8080)
}

fn of_service(lab: &Lab) -> Traffic {
    let id = lab.config.services[0].id;
    let counted = lab.engine.look(|table| table.traffic_of_service(id));
    counted.expect("a service").totals
}

fn of_server(lab: &Lab, server: u8) -> Traffic {
    let id = lab.config.services[0].id;
    let counted = lab
        .engine
        .look(|table| table.traffic_of_server(id, rip_of(server)));
    counted.expect("a server").totals
}

fn spec(server: u8) -> ServerSpec {
    ServerSpec {
        rip: rip_of(server),
        mode: "nat".into(),
        weight: 1,
        thresholds: Thresholds::default(),
        tunnel: Tunnel::default(),
    }
}

fn service_spec(lab: &Lab) -> ServiceSpec {
    ServiceSpec {
        id: lab.config.services[0].id,
        scheduler: "rr".into(),
        scheduler_flags: lb::SchedulerFlags::default(),
        persistence: None,
        one_packet: false,
        full_nat: None,
        persistence_engine: None,
    }
}

#[test]
fn packets_count_with_their_ip_headers_in_both_directions() {
    let mut lab = lab();
    lab.inbound(&syn(4000));
    lab.inbound(&syn(4000).payload(b"12345"));
    lab.outbound(
        &pkt()
            .ethernet(rip_mac(0), ETH1_MAC)
            .ipv4(rip(0), CIP)
            .tcp(8080, 4000)
            .syn_ack(),
    );
    let expected = Traffic {
        conns: 1,
        in_packets: 2,
        out_packets: 1,
        in_bytes: 85,
        out_bytes: 40,
    };
    assert_eq!(of_server(&lab, 0), expected);
    assert_eq!(of_service(&lab), expected);
    assert_eq!(lab.engine.look(|table| table.traffic()), expected);
}

#[test]
fn a_packet_that_opens_nothing_counts_nowhere() {
    let mut lab = lab();
    lab.inbound(&syn(4000).rst());
    assert_eq!(of_service(&lab), Traffic::default());
    // The kernel counts a client's packet before it looks at its TTL.
    lab.inbound(&syn(4000).ttl(1));
    assert_eq!(
        (of_service(&lab).conns, of_service(&lab).in_packets),
        (1, 1)
    );
}

#[test]
fn a_service_keeps_the_count_of_a_server_that_goes_and_comes_again() {
    let mut lab = lab();
    let id = lab.config.services[0].id;
    lab.inbound(&syn(4000));
    lab.engine.edit(|table| {
        table.delete_server(id, rip_of(0)).expect("there");
        table.add_server(id, &spec(1)).expect("new");
    });
    lab.inbound(&syn(4001));
    assert_eq!((of_service(&lab).conns, of_server(&lab, 1).conns), (2, 1));
    lab.inbound(&syn(4000));
    assert_eq!(
        of_service(&lab).in_packets,
        2,
        "dropped: its server is gone"
    );
    lab.engine
        .edit(|table| table.add_server(id, &spec(0)))
        .expect("gone before");
    lab.inbound(&syn(4000));
    assert_eq!(
        (of_server(&lab, 0).conns, of_server(&lab, 0).in_packets),
        (1, 2)
    );
    assert_eq!(
        (of_service(&lab).conns, of_service(&lab).in_packets),
        (2, 3)
    );
}

#[test]
fn zeroing_starts_anew_and_another_service_of_the_name_does() {
    let mut lab = lab();
    let id = lab.config.services[0].id;
    lab.inbound(&syn(4000));
    lab.engine
        .edit(|table| table.zero(Some(id)))
        .expect("there");
    assert_eq!(of_service(&lab), Traffic::default());
    assert_eq!(of_server(&lab, 0), Traffic::default());
    lab.inbound(&syn(4000));
    assert_eq!(
        (of_service(&lab).conns, of_service(&lab).in_packets),
        (0, 1)
    );
    let spec_of_service = service_spec(&lab);
    lab.engine.edit(|table| {
        table.delete_service(id).expect("there");
        assert!(table.zero(Some(id)).is_err());
        table.add_service(&spec_of_service).expect("gone");
        table.add_server(id, &spec(0)).expect("gone");
    });
    assert_eq!(of_service(&lab), Traffic::default());
    assert_eq!(of_server(&lab, 0), Traffic::default());
    lab.inbound(&syn(4000));
    assert_eq!(
        (of_service(&lab).in_packets, of_server(&lab, 0).in_packets),
        (1, 1)
    );
    let all = lab.engine.look(|table| table.traffic());
    assert_eq!((all.conns, all.in_packets), (1, 3), "nothing is forgotten");
}

#[test]
fn a_server_in_the_place_of_another_begins_at_nothing() {
    let mut lab = lab();
    let id = lab.config.services[0].id;
    // Removed servers without conns are remembered, but not all of them.
    for round in 0..300_u16 {
        let server = ServerSpec {
            rip: Endpoint::new(rip(1).into(), 9000 + round),
            ..spec(1)
        };
        lab.engine.edit(|table| {
            table.delete_server(id, rip_of(0)).ok();
            table.add_server(id, &server).expect("new");
        });
        lab.inbound(&syn(4000 + round));
        lab.port().take_sent().expect("a server");
        lab.pass_time(3600);
        lab.turn();
        lab.engine.edit(|table| {
            let counted = table.traffic_of_server(id, server.rip).expect("there");
            assert_eq!(counted.totals.conns, 1, "round {round}");
            table.delete_server(id, server.rip).expect("there");
        });
    }
    assert_eq!(of_service(&lab).conns, 300);
}
