//! Direct routing and NAT in both address families and for both protocols: one table of cases, each byte by byte.

mod lab;

use std::net::IpAddr;

use lab::*;
use lb::{Endpoint, Protocol};
use lb_testkit::{PacketBuilder, pkt};

/// Who talks to whom in one family.
struct Family {
    cip: IpAddr,
    vip: IpAddr,
    rip: IpAddr,
}

fn families() -> [Family; 2] {
    [
        Family {
            cip: CIP.into(),
            vip: VIP.into(),
            rip: rip(0).into(),
        },
        Family {
            cip: CIP6.into(),
            vip: VIP6.into(),
            rip: rip6(0).into(),
        },
    ]
}

/// A packet in its case: what is special about it, on top of its addresses, ports and protocol.
type Twist = fn(PacketBuilder) -> PacketBuilder;

/// What came in, and what leaves: the same, but for addresses, ports, hops, MACs and a completed checksum.
const TWISTS: [(&str, Twist, Twist); 8] = [
    ("plain", |p| p, |p| p),
    ("SYN or empty", PacketBuilder::syn, PacketBuilder::syn),
    ("odd payload", |p| p.payload(b"odd"), |p| p.payload(b"odd")),
    (
        "partial checksum",
        |p| p.payload(b"left to a device").partial_checksum(),
        |p| p.payload(b"left to a device"),
    ),
    ("last hop", |p| p.ttl(2), |p| p.ttl(1)),
    ("class", |p| p.tos(0xbb), |p| p.tos(0xbb)),
    (
        "IPv4 options, an IPv6 flow label",
        |p| p.options(&[1, 1, 1, 0]).flow_label(0x54321),
        |p| p.options(&[1, 1, 1, 0]).flow_label(0x54321),
    ),
    (
        "IPv6 extension headers",
        |p| extended(p).partial_checksum(),
        extended,
    ),
];

fn extended(packet: PacketBuilder) -> PacketBuilder {
    packet
        .extension(0, &[1, 4, 0, 0, 0, 0])
        .extension(43, &[4, 0, 0, 0, 0, 0])
        .extension(60, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn segment(packet: PacketBuilder, protocol: Protocol, from: u16, to: u16) -> PacketBuilder {
    match protocol {
        Protocol::Tcp => packet.tcp(from, to),
        Protocol::Udp => packet.udp(from, to),
        Protocol::Sctp => unreachable!("no packets of it are made"),
    }
}

fn lab(family: &Family, mode: &str, protocol: Protocol, rport: u16) -> Lab {
    let server = Endpoint::new(family.rip.into(), rport);
    Lab::new(vec![
        service_at(family.vip, mode, protocol).with_server(server, 1),
    ])
}

#[test]
fn direct_routing_changes_macs_and_hops_alone() {
    for family in families() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mut lab = lab(&family, "dr", protocol, 80);
            let ends = segment(pkt().ip(family.cip, family.vip), protocol, 4000, 80);
            lab.inbound(&ends.clone().syn());
            lab.port().take_sent();
            for (what, received, sent) in TWISTS {
                println!("{protocol} to {}: {what}", family.vip);
                lab.inbound(&received(ends.clone()));
                let forwarded = ends.clone().ethernet(ETH1_MAC, rip_mac(0)).ttl(63);
                lab.expect_tx(ETH1, &sent(forwarded));
            }
        }
    }
}

#[test]
fn nat_maps_both_ways() {
    for family in families() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mut lab = lab(&family, "nat", protocol, 8080);
            let Family { cip, vip, rip } = family;
            let ask = segment(pkt().ip(cip, vip), protocol, 4000, 80);
            let asked = segment(pkt().ip(cip, rip), protocol, 4000, 8080);
            let answer = segment(pkt().ip(rip, cip), protocol, 8080, 4000);
            let answered = segment(pkt().ip(vip, cip), protocol, 80, 4000);
            lab.inbound(&ask.clone().syn());
            lab.port().take_sent();
            for (what, received, sent) in TWISTS {
                println!("{protocol} to {vip}: {what}");
                let one_hop_later =
                    |p: &PacketBuilder, from, to| p.clone().ethernet(from, to).ttl(63);
                lab.inbound(&received(ask.clone()));
                lab.expect_tx(ETH1, &sent(one_hop_later(&asked, ETH1_MAC, rip_mac(0))));
                lab.outbound(&received(answer.clone()));
                lab.expect_tx(ETH0, &sent(one_hop_later(&answered, ETH0_MAC, CLIENT_MAC)));
            }
        }
    }
}

#[test]
fn a_udp_datagram_without_checksum_stays_so_but_in_ipv6_translation() {
    for mode in ["dr", "nat"] {
        for family in families() {
            let mut lab = lab(&family, mode, Protocol::Udp, 80);
            let ask = pkt()
                .ip(family.cip, family.vip)
                .udp(4000, 80)
                .payload(b"odd");
            lab.inbound(&ask.clone().no_checksum());
            let to = if mode == "nat" {
                family.rip
            } else {
                family.vip
            };
            let asked = ask
                .ip(family.cip, to)
                .ethernet(ETH1_MAC, rip_mac(0))
                .ttl(63);
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
    let [v4, v6] = families();
    let of = |family: &Family, mode| {
        service_at(family.vip, mode, Protocol::Tcp)
            .with_server(Endpoint::new(family.rip.into(), 80), 1)
    };
    let mut lab = Lab::new(vec![of(&v4, "nat"), of(&v6, "dr")]);
    for family in [v4, v6] {
        lab.inbound(&pkt().ip(family.cip, family.vip).tcp(4000, 80).syn());
        let to = if family.vip.is_ipv4() {
            family.rip
        } else {
            family.vip
        };
        let forwarded = pkt().ip(family.cip, to).tcp(4000, 80).syn();
        lab.expect_tx(ETH1, &forwarded.ethernet(ETH1_MAC, rip_mac(0)).ttl(63));
    }
    lab.expect_counters(&["conn.open", "tx", "conn.open", "tx"]);
}

#[test]
fn an_ipv6_packet_without_a_hop_left_ends_and_a_fragment_waits_as_in_ipv4() {
    let [_, v6] = families();
    let mut lab = lab(&v6, "dr", Protocol::Tcp, 80);
    let syn = pkt().ip(v6.cip, v6.vip).tcp(4000, 80).syn();
    lab.inbound(&syn.clone().ttl(1));
    let fragment = syn.clone().payload(&[0; 4]).fragment(0, true);
    lab.inbound(&fragment);
    assert_eq!(lab.worker().waiting_fragments(), 1);
    let answer = pkt().ethernet(ETH0_MAC, CLIENT_MAC).ip(v6.vip, v6.cip);
    lab.expect_tx(
        ETH0,
        &answer.icmp_error((3, 0, 0), &syn.clone().ttl(1), 1232),
    );
    lab.expect_counters(&["conn.open", "drop.ttl_exceeded", "icmp.sent", "tx"]);
}
