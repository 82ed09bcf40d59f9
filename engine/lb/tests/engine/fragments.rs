//! Datagrams in fragments: put together, forwarded like any packet, and sent in fragments again.

use std::net::IpAddr;

use crate::lab::*;
use lb::{Endpoint, InterfaceId, Mac, Protocol};
use lb_testkit::{PacketBuilder, pkt};

fn lab(family: Family, mode: &str) -> Lab {
    let port = if mode == "nat" { 8080 } else { 80 };
    let server = Endpoint::new((family.rip)(0).into(), port);
    Lab::new(vec![
        service_at(family.vip, mode, Protocol::Udp).with_server(server, 1),
    ])
}

fn datagram(from: (IpAddr, u16), to: (IpAddr, u16), len: usize) -> PacketBuilder {
    let payload: Vec<u8> = (0..len).map(|n| (n * 7 + n / 256) as u8).collect();
    let packet = pkt().ip(from.0, to.0).id(0x77, false);
    packet.udp(from.1, to.1).payload(&payload)
}

/// What was sent or punted, in order; IPv6's fragments with the id that the testkit gives them.
fn taken(mut next: impl FnMut() -> Option<(InterfaceId, Vec<u8>)>) -> Vec<(InterfaceId, Vec<u8>)> {
    let mut frames: Vec<_> = std::iter::from_fn(&mut next).collect();
    for (_, frame) in &mut frames {
        if frame[12] == 0x86 && frame[20] == 44 {
            frame[58..62].copy_from_slice(&[0, 0, 0x12, 0x34]);
        }
    }
    frames
}

#[track_caller]
fn expect_sent(lab: &mut Lab, egress: InterfaceId, expected: &[PacketBuilder]) {
    let sent = taken(|| lab.port().take_sent());
    let expected: Vec<_> = expected.iter().map(|p| (egress, p.bytes())).collect();
    assert_eq!(sent, expected);
}

fn ether(packets: Vec<PacketBuilder>, from: Mac, to: Mac) -> Vec<PacketBuilder> {
    let packets = packets.into_iter();
    packets.map(|packet| packet.ethernet(from, to)).collect()
}

#[test]
fn a_datagram_goes_on_whole_in_the_parts_it_came_in_whatever_their_order() {
    for family in [V4, V6] {
        for mode in ["dr", "nat"] {
            let mut lab = lab(family, mode);
            let here = datagram((family.cip, 4000), (family.vip, 80), 2000).split(1000);
            let to = if mode == "nat" {
                ((family.rip)(0), 8080)
            } else {
                (family.vip, 80)
            };
            let there = datagram((family.cip, 4000), to, 2000).ttl(63).split(1000);
            let there = ether(there, ETH1_MAC, rip_mac(0));
            let mut open = Some("conn.open");
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                for at in order {
                    expect_sent(&mut lab, ETH1, &[]);
                    lab.inbound(&here[at]);
                }
                expect_sent(&mut lab, ETH1, &there);
                let mut moved = ["fragment.joined", "fragment.split"].repeat(2);
                moved.extend(["tx"; 3]);
                moved.extend(open.take());
                lab.expect_counters(&moved);
            }
        }
    }
}

#[test]
fn fragments_that_are_not_ours_go_to_the_kernel_as_they_came() {
    for family in [V4, V6] {
        let mut lab = lab(family, "nat");
        let parts = datagram((family.cip, 4000), (family.vip, 53), 2000).split(1000);
        for part in &parts {
            lab.inbound(part);
        }
        expect_sent(&mut lab, ETH0, &[]);
        let punted = taken(|| lab.port().take_punted());
        let expected: Vec<_> = parts.iter().map(|p| (ETH0, p.bytes())).collect();
        assert_eq!(punted, expected);
        let mut moved = ["fragment.joined", "fragment.split"].repeat(2);
        moved.extend(["punt.not_ours"; 3]);
        lab.expect_counters(&moved);
    }
}

#[test]
fn a_tunnel_takes_the_whole_datagram() {
    let mut lab = lab(V4, "tun");
    let whole = datagram((V4.cip, 4000), (V4.vip, 80), 2000);
    for part in whole.clone().split(1000) {
        lab.inbound(&part);
    }
    let sent = taken(|| lab.port().take_sent());
    let id = u16::from_be_bytes([sent[0].1[18], sent[0].1[19]]);
    let outer = pkt().ethernet(ETH1_MAC, rip_mac(0)).ipv4(DIP, rip(0));
    let outer = outer.id(id, false).ttl(63).carrying(&whole.ttl(63));
    let expected: Vec<_> = outer
        .split(1000)
        .iter()
        .map(|p| (ETH1, p.bytes()))
        .collect();
    assert_eq!(sent, expected);
}

#[test]
fn what_does_not_fit_and_may_be_taken_apart_is() {
    let mut lab = lab(V4, "tun");
    let whole = datagram((V4.cip, 4000), (V4.vip, 80), 1472);
    lab.inbound(&whole);
    let sent = taken(|| lab.port().take_sent());
    let id = u16::from_be_bytes([sent[0].1[18], sent[0].1[19]]);
    let outer = pkt().ethernet(ETH1_MAC, rip_mac(0)).ipv4(DIP, rip(0));
    let outer = outer.id(id, false).ttl(63).carrying(&whole.ttl(63));
    let expected: Vec<_> = outer
        .split(1480)
        .iter()
        .map(|p| (ETH1, p.bytes()))
        .collect();
    assert_eq!(sent, expected);
    lab.expect_counters(&["conn.open", "fragment.split", "tx", "tx"]);
}

#[test]
fn a_datagram_of_the_greatest_length_goes_through() {
    let mut lab = lab(V4, "nat");
    for part in datagram((V4.cip, 4000), (V4.vip, 80), 65_000).split(1480) {
        lab.inbound(&part);
    }
    let there = datagram((V4.cip, 4000), ((V4.rip)(0), 8080), 65_000).ttl(63);
    let there = ether(there.split(1480), ETH1_MAC, rip_mac(0));
    expect_sent(&mut lab, ETH1, &there);
}

#[test]
fn a_flood_of_first_fragments_costs_the_oldest_their_place_and_nothing_else() {
    let mut lab = lab(V4, "nat");
    let first = |id: u16| {
        let parts = datagram((V4.cip, 4000), (V4.vip, 80), 2000).id(id, false);
        parts.split(1000).remove(0)
    };
    for id in 0..1000 {
        lab.inbound(&first(id));
    }
    let lost = vec!["drop.fragment_incomplete"; 1000 - 256];
    lab.expect_counters(&lost);
    assert_eq!(lab.worker().waiting_fragments(), 256);
    let parts = datagram((V4.cip, 4000), (V4.vip, 80), 2000).id(2000, false);
    for part in parts.split(1000) {
        lab.inbound(&part);
    }
    let mut moved = ["fragment.joined", "fragment.split"].repeat(2);
    moved.extend(["conn.open", "drop.fragment_incomplete"]);
    moved.extend(["tx"; 3]);
    lab.expect_counters(&moved);
    while lab.port().take_sent().is_some() {}
}
