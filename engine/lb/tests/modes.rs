//! Direct routing and NAT through the whole engine: what goes in, what comes out, byte by byte.

mod lab;

use lab::*;
use lb::Protocol;
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

fn from_server(server: u8, cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(rip_mac(server), ETH1_MAC)
        .ipv4(rip(server), CIP)
        .tcp(8080, cport)
}

fn towards_client(cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(ETH0_MAC, CLIENT_MAC)
        .ipv4(VIP, CIP)
        .tcp(80, cport)
        .ttl(63)
}

#[test]
fn direct_routing_changes_macs_and_ttl_alone() {
    let mut lab = Lab::new(vec![with_servers(service("dr", Protocol::Tcp), 3, 80)]);
    // The server added last stands first in IPVS's list.
    for (cport, server) in [(4000, 2), (4001, 1), (4002, 0), (4003, 2)] {
        lab.inbound(&from_client(cport).syn());
        lab.expect_tx(ETH1, &towards(server, from_client(cport).syn()));
        lab.expect_counters(&["tx", "conn.open"]);
    }
    lab.inbound(&from_client(4001).payload(b"GET / HTTP/1.1\r\n\r\n"));
    lab.expect_tx(
        ETH1,
        &towards(1, from_client(4001).payload(b"GET / HTTP/1.1\r\n\r\n")),
    );
    lab.expect_counters(&["tx"]);
}

#[test]
fn nat_maps_addresses_and_ports_and_maps_the_reply_back() {
    let mut lab = Lab::new(vec![with_servers(service("nat", Protocol::Tcp), 2, 8080)]);
    lab.inbound(&from_client(4000).syn());
    lab.expect_tx(
        ETH1,
        &towards(1, from_client(4000).ipv4(CIP, rip(1)).tcp(4000, 8080).syn()),
    );
    lab.expect_counters(&["tx", "conn.open"]);

    lab.outbound(&from_server(1, 4000).syn_ack());
    lab.expect_tx(ETH0, &towards_client(4000).syn_ack());
    lab.inbound(&from_client(4000));
    lab.expect_tx(
        ETH1,
        &towards(1, from_client(4000).ipv4(CIP, rip(1)).tcp(4000, 8080)),
    );
    lab.outbound(&from_server(1, 4000).payload(b"odd"));
    lab.expect_tx(ETH0, &towards_client(4000).payload(b"odd"));
    lab.expect_counters(&["tx", "tx", "tx"]);
}

#[test]
fn nat_works_for_udp_and_leaves_a_checksum_of_none_alone() {
    let mut lab = Lab::new(vec![with_servers(service("nat", Protocol::Udp), 1, 5353)]);
    let ask = |p: PacketBuilder| {
        p.ethernet(CLIENT_MAC, ETH0_MAC)
            .ipv4(CIP, VIP)
            .udp(4000, 80)
            .payload(b"who")
    };
    let asked = |p: PacketBuilder| towards(0, p.ipv4(CIP, rip(0)).udp(4000, 5353).payload(b"who"));
    let answer = |p: PacketBuilder| p.ipv4(rip(0), CIP).udp(5353, 4000).payload(b"me");
    let answered = |p: PacketBuilder| {
        p.ethernet(ETH0_MAC, CLIENT_MAC)
            .ttl(63)
            .ipv4(VIP, CIP)
            .udp(80, 4000)
            .payload(b"me")
    };
    lab.inbound(&ask(pkt()));
    lab.expect_tx(ETH1, &asked(pkt()));
    lab.outbound(&answer(pkt()));
    lab.expect_tx(ETH0, &answered(pkt()));
    lab.inbound(&ask(pkt().no_checksum()));
    lab.expect_tx(ETH1, &asked(pkt().no_checksum()));
    lab.outbound(&answer(pkt().no_checksum()));
    lab.expect_tx(ETH0, &answered(pkt().no_checksum()));
    lab.expect_counters(&["tx", "conn.open", "tx", "tx", "tx"]);
}

#[test]
fn checksums_left_to_a_device_are_completed_in_every_mode_and_direction() {
    let mut lab = Lab::new(vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)]);
    lab.inbound(&from_client(4000).syn().partial_checksum());
    lab.expect_tx(
        ETH1,
        &towards(0, from_client(4000).ipv4(CIP, rip(0)).tcp(4000, 8080).syn()),
    );
    lab.outbound(&from_server(0, 4000).syn_ack().partial_checksum());
    lab.expect_tx(ETH0, &towards_client(4000).syn_ack());

    let mut lab = Lab::new(vec![with_servers(service("dr", Protocol::Tcp), 1, 80)]);
    lab.inbound(&from_client(4000).syn().partial_checksum());
    lab.expect_tx(ETH1, &towards(0, from_client(4000).syn()));
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
