//! Tunnelling, byte by byte: every family inside every family.

mod lab;

use std::net::IpAddr;

use lab::*;
use lb::{Endpoint, Mac, Protocol};
use lb_testkit::{PacketBuilder, pkt};

fn lab(vip: IpAddr, rip: IpAddr) -> Lab {
    let server = |port| Endpoint::new(rip.into(), port);
    Lab::new(
        [Protocol::Tcp, Protocol::Udp]
            .map(|protocol| service_at(vip, "tun", protocol).with_server(server(80), 1))
            .into(),
    )
}

fn client_of(vip: IpAddr) -> PacketBuilder {
    match vip {
        IpAddr::V4(vip) => pkt().ipv4(CIP, vip),
        IpAddr::V6(vip) => pkt().ipv6(CIP6, vip),
    }
}

/// The outer header to server 0, as it leaves.
fn outer(rip: IpAddr) -> PacketBuilder {
    let outer = match rip {
        IpAddr::V4(rip) => pkt().ipv4(DIP, rip).id(0, true),
        IpAddr::V6(rip) => pkt().ipv6(DIP6, rip),
    };
    outer.ethernet(ETH1_MAC, rip_mac(0)).ttl(63)
}

#[test]
fn every_family_is_carried_by_every_family_untouched() {
    for vip in [IpAddr::from(VIP), VIP6.into()] {
        for rip in [IpAddr::from(rip(0)), rip6(0).into()] {
            let mut lab = lab(vip, rip);
            let packets = [
                client_of(vip).tcp(4000, 80).syn().tos(0xb8),
                client_of(vip)
                    .tcp(4000, 80)
                    .payload(b"odd")
                    .tos(1)
                    .flow_label(0x54321),
                client_of(vip).udp(4000, 80).payload(b"query").tos(2),
                client_of(vip)
                    .udp(4000, 80)
                    .options(&[1; 4])
                    .extension(60, &[0; 6]),
                client_of(vip).udp(4000, 80).no_checksum(),
            ];
            for (at, packet) in packets.into_iter().enumerate() {
                println!("packet {at} to {vip} by {rip}");
                lab.inbound(&packet);
                let tos = [0xb8, 1, 2, 0, 0][at];
                let mut expected = outer(rip).tos(tos).carrying(&packet.ttl(63));
                // IPv6 does not say that IPv4 routers on the way must not fragment it.
                if vip.is_ipv6() && rip.is_ipv4() {
                    let frame = lab.port().take_sent().expect("sent").1;
                    let id = u16::from_be_bytes([frame[18], frame[19]]);
                    expected = expected.id(id, false);
                    assert_eq!(frame, expected.bytes());
                } else {
                    lab.expect_tx(ETH1, &expected);
                }
            }
            let mut moved = vec!["tx"; 5];
            moved.extend(["conn.open"; 2]);
            lab.expect_counters(&moved);
        }
    }
}

#[test]
fn the_outer_header_leaves_congestion_to_the_inner_one() {
    let mut lab = lab(VIP6.into(), rip6(0).into());
    let packet = client_of(VIP6.into()).udp(4000, 80).tos(0xff);
    lab.inbound(&packet);
    let carrying = outer(rip6(0).into()).carrying(&packet.ttl(63));
    lab.expect_tx(ETH1, &carrying.tos(0xfe));
}

#[test]
fn what_may_be_fragmented_gets_ids_that_differ() {
    let mut lab = lab(VIP.into(), rip(0).into());
    let mut ids = Vec::new();
    for sequence in 0..64u16 {
        let packet = client_of(VIP.into())
            .udp(4000, 80)
            .no_checksum()
            .id(sequence, false);
        lab.inbound(&packet);
        let frame = lab.port().take_sent().expect("sent").1;
        let id = u16::from_be_bytes([frame[18], frame[19]]);
        let expected = outer(rip(0).into()).id(id, false).carrying(&packet.ttl(63));
        assert_eq!(frame, expected.bytes());
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 64);
}

#[test]
fn a_partial_checksum_is_completed_and_ethernet_padding_goes() {
    let mut lab = lab(VIP.into(), rip(0).into());
    let packet = client_of(VIP.into()).tcp(4000, 80).syn();
    let mut padded = packet.clone().partial_checksum().bytes();
    padded.resize(60, 0xee);
    assert!(lab.port().inject(ETH0, &padded));
    lab.turn();
    lab.expect_tx(ETH1, &outer(rip(0).into()).carrying(&packet.ttl(63)));
}

#[test]
fn the_outer_header_counts_towards_the_mtu() {
    for (rip, room) in [(IpAddr::from(rip(0)), 1480), (rip6(0).into(), 1460)] {
        let mut lab = lab(VIP.into(), rip);
        let of_len = |len: usize| {
            client_of(VIP.into())
                .udp(4000, 80)
                .payload(&vec![7; len - 28])
        };
        lab.inbound(&of_len(room));
        lab.expect_tx(ETH1, &outer(rip).carrying(&of_len(room).ttl(63)));
        lab.inbound(&of_len(room + 1));
        lab.expect_nothing_sent();
        lab.expect_counters(&["conn.open", "tx", "drop.too_big"]);
    }
}

#[test]
fn an_encapsulated_packet_waits_for_a_mac_as_it_is() {
    let mut lab = lab(VIP.into(), rip6(0).into());
    let mut hops = Lab::next_hops();
    hops.remove_neighbour(ETH1, rip6(0).into());
    lab.engine.set_next_hops(hops.clone());
    let packet = client_of(VIP.into()).tcp(4000, 80).syn();
    lab.inbound(&packet);
    lab.expect_nothing_sent();
    let mac = Mac([2, 9, 9, 9, 9, 9]);
    hops.set_neighbour(ETH1, rip6(0).into(), mac);
    lab.engine.set_next_hops(hops);
    lab.turn();
    let expected = outer(rip6(0).into()).carrying(&packet.ttl(63));
    lab.expect_tx(ETH1, &expected.ethernet(ETH1_MAC, mac));
    lab.expect_counters(&["conn.open", "held", "tx"]);
}
