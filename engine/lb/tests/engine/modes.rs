//! What the matrix does not show: flows over time, and what of a packet is kept.

use crate::lab::*;
use lb::{Endpoint, Protocol};
use lb_testkit::{PacketBuilder, pkt};

fn from_client(cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(CLIENT_MAC, ETH0_MAC)
        .ipv4(CIP, VIP)
        .tcp(cport, 80)
}

/// `packet` as it leaves towards server `server` one hop later.
fn towards(server: u8, packet: PacketBuilder) -> PacketBuilder {
    packet.ethernet(ETH1_MAC, rip_mac(server)).ttl(63)
}

#[test]
fn ip_options_do_not_disturb_the_rewrite_and_ethernet_padding_stays_behind() {
    let mut lab = Lab::new(vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)]);
    let options = [1, 1, 1, 0];
    lab.inbound(&from_client(4000).options(&options).syn().partial_checksum());
    lab.expect_tx(
        ETH1,
        &towards(
            0,
            from_client(4000)
                .ipv4(CIP, rip(0))
                .tcp(4000, 8080)
                .options(&options)
                .syn(),
        ),
    );

    let mut padded = from_client(4001).syn().partial_checksum().bytes();
    padded.resize(60, 0xee);
    assert!(lab.port().inject(ETH0, &padded));
    lab.turn();
    let expected = from_client(4001).ipv4(CIP, rip(0)).tcp(4001, 8080).syn();
    lab.expect_tx(ETH1, &towards(0, expected));
}

#[test]
fn a_udp_datagram_without_checksum_stays_so_but_in_ipv6_translation() {
    for mode in ["dr", "nat"] {
        for family in [V4, V6] {
            let rip = (family.rip)(0);
            let service = service_at(family.vip, mode, Protocol::Udp);
            let mut lab = Lab::new(vec![service.with_server(Endpoint::new(rip.into(), 80), 1)]);
            let ask = family.client_sends().udp(4000, 80).payload(b"odd");
            lab.inbound(&ask.clone().no_checksum());
            let to = if mode == "nat" { rip } else { family.vip };
            let asked = towards(0, ask.ip(family.cip, to));
            if mode == "nat" && family.vip.is_ipv6() {
                lab.expect_tx(ETH1, &asked);
            } else {
                lab.expect_tx(ETH1, &asked.no_checksum());
            }
        }
    }
}

#[test]
fn the_same_port_of_both_families_is_two_services() {
    let of = |family: Family, mode| {
        service_at(family.vip, mode, Protocol::Tcp)
            .with_server(Endpoint::new((family.rip)(0).into(), 80), 1)
    };
    let mut lab = Lab::new(vec![of(V4, "nat"), of(V6, "dr")]);
    for (family, to) in [(V4, rip(0).into()), (V6, V6.vip)] {
        let syn = family.client_sends().tcp(4000, 80).syn();
        lab.inbound(&syn);
        lab.expect_tx(ETH1, &towards(0, syn.ip(family.cip, to)));
    }
    lab.expect_counters(&["conn.open", "tx", "conn.open", "tx"]);
}

#[test]
fn an_ipv6_packet_without_a_hop_left_ends_and_a_fragment_waits_as_in_ipv4() {
    let service = service_at(V6.vip, "dr", Protocol::Tcp);
    let mut lab = Lab::new(vec![
        service.with_server(Endpoint::new((V6.rip)(0).into(), 80), 1),
    ]);
    let syn = V6.client_sends().tcp(4000, 80).syn();
    lab.inbound(&syn.clone().ttl(1));
    let fragment = syn.clone().payload(&[0; 4]).fragment(0, true);
    lab.inbound(&fragment);
    assert_eq!(lab.worker().waiting_fragments(), 1);
    let answer = pkt().ethernet(ETH0_MAC, CLIENT_MAC).ip(V6.vip, V6.cip);
    lab.expect_tx(ETH0, &answer.icmp_error((3, 0, 0), &syn.ttl(1), 1232));
    lab.expect_counters(&["conn.open", "drop.ttl_exceeded", "icmp.sent", "tx"]);
}

#[test]
fn a_route_is_recorded_in_both_directions_and_tags_are_kept() {
    let mut lab = Lab::new(vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)]);
    let empty = [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let [a, b, c, d] = VIP.octets();
    let filled = [7, 11, 8, a, b, c, d, 0, 0, 0, 0, 0];
    let tagged = |packet: PacketBuilder| packet.vlan(&[100, 7]);
    let client = pkt().ipv4(CIP, VIP).tcp(4000, 80);
    lab.inbound(&client.clone().syn());
    assert!(lab.port().take_sent().is_some());
    lab.inbound(&tagged(client.options(&empty)));
    let forwarded = pkt().ethernet(ETH1_MAC, rip_mac(0)).ipv4(CIP, rip(0));
    let forwarded = forwarded.tcp(4000, 8080).ttl(63).options(&filled);
    lab.expect_tx(ETH1, &tagged(forwarded));
    lab.outbound(&tagged(
        pkt().ipv4(rip(0), CIP).tcp(8080, 4000).options(&empty),
    ));
    let returned = pkt().ethernet(ETH0_MAC, CLIENT_MAC).ipv4(VIP, CIP);
    let returned = returned.tcp(80, 4000).ttl(63).options(&filled);
    lab.expect_tx(ETH0, &tagged(returned));
    lab.inbound(&tagged(pkt().ipv4(CIP, VIP).tcp(4000, 80).ttl(1)));
    let told = pkt().ethernet(ETH0_MAC, CLIENT_MAC).ipv4(VIP, CIP);
    let about = pkt().ipv4(CIP, VIP).tcp(4000, 80).ttl(1);
    let told = told.tos(0xc0).id(0, false);
    lab.expect_tx(ETH0, &tagged(told.icmp_error((11, 0, 0), &about, 548)));
}

#[test]
fn a_flow_stays_on_its_server_also_when_its_first_packets_share_a_batch() {
    let mut lab = Lab::new(vec![with_servers(service("dr", Protocol::Tcp), 3, 80)]);
    let flow = [
        from_client(4000).syn(),
        from_client(4000).syn(),
        from_client(4000),
        from_client(4000).fin(),
    ];
    for packet in &flow {
        lab.client_sends(packet);
    }
    lab.turn();
    for packet in flow {
        lab.expect_tx(ETH1, &towards(2, packet));
    }
    lab.expect_counters(&["tx", "tx", "tx", "tx", "conn.open"]);
}

#[test]
fn a_udp_conn_ends_after_its_time_out_and_the_next_packet_is_scheduled_anew() {
    let mut lab = Lab::new(vec![with_servers(service("dr", Protocol::Udp), 2, 80)]);
    let ask = pkt().ipv4(CIP, VIP).udp(4000, 80);
    lab.inbound(&ask);
    lab.expect_tx(ETH1, &towards(1, ask.clone()));
    lab.pass_time(299);
    lab.inbound(&ask);
    lab.expect_tx(ETH1, &towards(1, ask.clone()));
    lab.pass_time(301);
    lab.inbound(&ask);
    lab.expect_tx(ETH1, &towards(0, ask.clone()));
    lab.expect_counters(&["tx", "tx", "tx", "conn.open", "conn.open", "conn.expire"]);
}

#[test]
fn another_configuration_moves_new_conns_and_leaves_old_ones() {
    let mut lab = Lab::new(vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)]);
    lab.inbound(&from_client(4000).syn());
    lab.expect_tx(
        ETH1,
        &towards(0, from_client(4000).ipv4(CIP, rip(0)).tcp(4000, 8080).syn()),
    );

    let mut config = lab.config.clone();
    config.services = vec![with_servers(service("nat", Protocol::Tcp), 2, 8080)];
    config.services[0].servers[0].weight = 0;
    lab.engine.apply(&config).expect("valid");
    let mapped = |server, packet: PacketBuilder, cport| {
        towards(server, packet.ipv4(CIP, rip(server)).tcp(cport, 8080))
    };
    lab.inbound(&from_client(4000));
    lab.expect_tx(ETH1, &mapped(0, from_client(4000), 4000));
    lab.inbound(&from_client(4001).syn());
    lab.expect_tx(ETH1, &mapped(1, from_client(4001).syn(), 4001));

    config.services[0].scheduler = "none".into();
    assert!(lab.engine.apply(&config).is_err());
    lab.inbound(&from_client(4002).syn());
    lab.expect_tx(ETH1, &mapped(1, from_client(4002).syn(), 4002));
}
