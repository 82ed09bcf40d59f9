//! Full NAT through the whole engine, byte by byte.

use crate::lab::*;
use lb::{Addr, Endpoint, Protocol, ServiceConfig};

fn service(family: Family, protocol: Protocol, servers: u8) -> ServiceConfig {
    family
        .service("fnat", protocol, servers)
        .with_local_address(family.lip.into())
}

#[test]
fn datagrams_and_their_answers_are_translated_at_both_ends() {
    for family in [V4, V6] {
        let mut lab = Lab::new(vec![service(family, Protocol::Udp, 2)]);
        for (cport, server) in [(4000, 1), (4001, 0)] {
            lab.inbound(&family.client_sends().udp(cport, 80).payload(b"odd"));
            let forwarded = family.server_gets(server).udp(1024, 8080).payload(b"odd");
            lab.expect_tx(ETH1, &forwarded);
            lab.outbound(&family.server_sends(server).udp(8080, 1024).payload(b"even"));
            lab.expect_tx(ETH0, &family.client_gets().udp(80, cport).payload(b"even"));
            lab.expect_counters(&["tx", "conn.open", "tx"]);
        }
        // One port serves towards two servers; towards one server each conn has its own.
        lab.inbound(&family.client_sends().udp(4002, 80));
        lab.expect_tx(ETH1, &family.server_gets(1).udp(1025, 8080));
        lab.expect_counters(&["tx", "conn.open"]);
    }
}

#[test]
fn what_comes_to_a_local_address_and_is_of_no_conn_is_the_kernels() {
    let mut lab = Lab::new(vec![service(V4, Protocol::Udp, 1)]);
    lab.inbound(&V4.client_sends().udp(4000, 80));
    lab.expect_tx(ETH1, &V4.server_gets(0).udp(1024, 8080));
    for stray in [
        V4.server_sends(0).udp(8080, 1025),
        V4.server_sends(0).udp(8081, 1024),
        V4.server_sends(1).udp(8080, 1024),
        V4.server_sends(0).tcp(8080, 1024),
    ] {
        lab.outbound(&stray);
        lab.expect_punted(ETH1, &stray);
    }
    let mut moved = vec!["tx", "conn.open"];
    moved.extend(["punt.not_ours"; 4]);
    lab.expect_counters(&moved);
}

#[test]
fn services_that_share_a_local_address_share_its_ports() {
    let mut other = service(V4, Protocol::Udp, 1);
    other.id = lb::ServiceKey {
        vip: Endpoint::new(VIP.into(), 81),
        protocol: Protocol::Udp,
    }
    .into();
    let mut lab = Lab::new(vec![service(V4, Protocol::Udp, 1), other]);
    for (vport, lport) in [(80, 1024), (81, 1025), (80, 1024), (81, 1025)] {
        lab.inbound(&V4.client_sends().udp(4000, vport));
        lab.expect_tx(ETH1, &V4.server_gets(0).udp(lport, 8080));
        lab.outbound(&V4.server_sends(0).udp(8080, lport));
        lab.expect_tx(ETH0, &V4.client_gets().udp(vport, 4000));
    }
}

#[test]
fn every_server_takes_all_local_addresses_in_turn() {
    let lips: Vec<Addr> = (2..6).map(|last| Addr::v4([10, 1, 0, last])).collect();
    let mut service = service(V4, Protocol::Udp, 2);
    service.local_addresses = lips.clone();
    let mut lab = Lab::new(vec![service]);
    let mut seen = Vec::new();
    for cport in 0..8 {
        lab.inbound(&V4.client_sends().udp(4000 + cport, 80));
        let frame = lab.port().take_sent().expect("sent").1;
        seen.push((frame[33], frame[29]));
    }
    let expected = (0..8).map(|at| (if at % 2 == 0 { 12 } else { 11 }, 2 + at as u8 / 2));
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn a_conn_keeps_its_local_port_when_the_address_is_taken_away_and_new_ones_do_not_get_it() {
    let mut lab = Lab::new(vec![service(V4, Protocol::Udp, 1)]);
    let id = lab.engine.edit(|table| table.services()[0].id());
    lab.inbound(&V4.client_sends().udp(4000, 80));
    lab.expect_tx(ETH1, &V4.server_gets(0).udp(1024, 8080));
    let other = Addr::v4([10, 1, 0, 3]);
    let edited = lab.engine.edit(|table| {
        assert_eq!(
            table.delete_local_address(id, other),
            Err(lb::Refusal::NoSuchLocalAddress)
        );
        assert_eq!(
            table.add_local_address(id, LIP.into()),
            Err(lb::Refusal::LocalAddressExists)
        );
        assert_eq!(
            table.add_local_address(id, LIP6.into()),
            Err(lb::Refusal::OtherFamily)
        );
        table.delete_local_address(id, LIP.into())
    });
    assert_eq!(edited, Ok(()));
    lab.inbound(&V4.client_sends().udp(4000, 80));
    lab.expect_tx(ETH1, &V4.server_gets(0).udp(1024, 8080));
    lab.inbound(&V4.client_sends().udp(4001, 80));
    lab.expect_nothing_sent();
    lab.expect_counters(&["tx", "conn.open", "tx", "drop.no_local_port"]);
    let added = lab.engine.edit(|table| table.add_local_address(id, other));
    assert_eq!(added, Ok(()));
    lab.inbound(&V4.client_sends().udp(4001, 80));
    let forwarded = V4.server_gets(0).ipv4([10, 1, 0, 3].into(), rip(0));
    lab.expect_tx(ETH1, &forwarded.udp(1024, 8080));
}

#[test]
fn what_is_in_use_shows_before_it_is_all() {
    let mut lab = Lab::new(vec![service(V4, Protocol::Udp, 2)]);
    let id = lab.engine.edit(|table| table.services()[0].id());
    for cport in 4000..4003 {
        lab.inbound(&V4.client_sends().udp(cport, 80));
    }
    let ports = lab.engine.local_ports_of(id);
    let leased: Vec<u32> = ports.iter().map(|of| of.leased).collect();
    assert_eq!(leased, [2, 1]);
    assert!(ports.iter().all(|of| of.capacity == 64_512), "{ports:?}");
    let used = lab.engine.local_use(LIP.into());
    assert_eq!((used.leased, used.exhausted), (3, 0));
    lab.pass_time(400);
    lab.turn();
    assert_eq!(lab.engine.local_use(LIP.into()).leased, 0);
}
