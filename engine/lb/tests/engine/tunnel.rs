//! Tunnelling, byte by byte: every tunnel, every family inside every family.

use std::net::IpAddr;

use crate::lab::*;
use lb::{Endpoint, Mac, Protocol, Tunnel, TunnelChecksum};
use lb_testkit::{PacketBuilder, pkt};
use lb_wire::checksum;

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

/// The packet without its Ethernet header.
fn ip_packet(packet: &PacketBuilder) -> Vec<u8> {
    packet.bytes()[14..].to_vec()
}

/// `inner`, whose don't-fragment bit is set or which is carried by IPv6, as it leaves in `tunnel`; the flow's GUE
/// source port is taken from the frame `sent`.
fn wrapped(tunnel: Tunnel, rip: IpAddr, inner: &PacketBuilder, sent: &[u8]) -> PacketBuilder {
    let outer = outer(rip);
    let v4_inside = ip_packet(inner)[0] >> 4 == 4;
    match tunnel {
        Tunnel::Ipip => outer.carrying(inner),
        Tunnel::Gue { port, checksum } => {
            let protocol = if v4_inside { 4 } else { 41 };
            let at = if rip.is_ipv4() { 34 } else { 54 };
            let source = u16::from_be_bytes([sent[at], sent[at + 1]]);
            assert!((32_768..=60_999).contains(&source), "{source}");
            let payload = [vec![0, protocol, 0, 0], ip_packet(inner)].concat();
            let outer = outer.udp(source, port).payload(&payload);
            match checksum {
                TunnelChecksum::Absent => outer.no_checksum(),
                TunnelChecksum::Present | TunnelChecksum::Remote => outer,
            }
        }
        Tunnel::Gre { checksum } => {
            let mut header = vec![0, 0];
            header.extend(if v4_inside {
                [0x08, 0x00]
            } else {
                [0x86, 0xdd]
            });
            if checksum == TunnelChecksum::Present {
                header[0] = 0x80;
                let sum = checksum::sum(&header) + checksum::sum(&ip_packet(inner));
                header.extend((!checksum::fold(sum)).to_be_bytes());
                header.extend([0, 0]);
            }
            outer.carrying_bytes(47, [header, ip_packet(inner)].concat())
        }
    }
}

fn every_tunnel() -> Vec<Tunnel> {
    let checksums = [
        TunnelChecksum::Absent,
        TunnelChecksum::Present,
        TunnelChecksum::Remote,
    ];
    let gue = checksums.map(|checksum| Tunnel::Gue {
        port: 6080,
        checksum,
    });
    let gre =
        [TunnelChecksum::Absent, TunnelChecksum::Present].map(|checksum| Tunnel::Gre { checksum });
    [vec![Tunnel::Ipip], gue.into(), gre.into()].concat()
}

fn lab_of(vip: IpAddr, rip: IpAddr, tunnel: Tunnel) -> Lab {
    let services = [Protocol::Tcp, Protocol::Udp].map(|protocol| {
        let server = Endpoint::new(rip.into(), 80);
        let mut service = service_at(vip, "tun", protocol).with_server(server, 1);
        service.servers[0].tunnel = tunnel;
        service
    });
    Lab::new(services.into())
}

#[test]
fn every_tunnel_wraps_every_family_in_every_family() {
    for tunnel in every_tunnel() {
        for vip in [IpAddr::from(VIP), VIP6.into()] {
            // IPv6 inside leaves the outer IPv4 header an id of its own; the plain tunnel's test looks at that.
            let rips = [IpAddr::from(rip(0)), rip6(0).into()];
            for rip in rips
                .into_iter()
                .filter(|rip| vip.is_ipv4() || rip.is_ipv6())
            {
                let mut lab = lab_of(vip, rip, tunnel);
                let headrooms = [0, tunnel.overhead(rip.is_ipv4()), 8, 100];
                let packets = [
                    client_of(vip).tcp(4000, 80).syn(),
                    client_of(vip).tcp(4000, 80).payload(b"odd"),
                    client_of(vip).udp(4000, 80).payload(b"even"),
                ];
                for headroom in headrooms {
                    lab.port().set_headroom(headroom);
                    for packet in packets.clone() {
                        println!("{tunnel:?} to {vip} by {rip} with {headroom} bytes of room");
                        lab.inbound(&packet);
                        let (egress, sent) = lab.port().take_sent().expect("sent");
                        let expected = wrapped(tunnel, rip, &packet.ttl(63), &sent);
                        assert_eq!((egress, sent), (ETH1, expected.bytes()));
                    }
                }
                lab.expect_counters(&[&["conn.open"; 2][..], &["tx"; 12]].concat());
            }
        }
    }
}

#[test]
fn a_flow_keeps_its_gue_source_port_and_flows_have_different_ones() {
    let gue = Tunnel::Gue {
        port: 6080,
        checksum: TunnelChecksum::Absent,
    };
    let mut lab = lab_of(VIP.into(), rip(0).into(), gue);
    let mut ports = Vec::new();
    for client in 4000..4064 {
        let mut of_flow = [0, 1].map(|_| {
            lab.inbound(&client_of(VIP.into()).udp(client, 80));
            let frame = lab.port().take_sent().expect("sent").1;
            u16::from_be_bytes([frame[34], frame[35]])
        });
        of_flow.sort_unstable();
        assert_eq!(of_flow[0], of_flow[1]);
        ports.push(of_flow[0]);
    }
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() > 60, "{ports:?}");
}

#[test]
fn an_edit_of_a_servers_tunnel_counts_for_its_conns_too() {
    let mut lab = lab_of(VIP.into(), rip(0).into(), Tunnel::Ipip);
    let packet = client_of(VIP.into()).tcp(4000, 80).syn();
    lab.inbound(&packet);
    let left = packet.clone().ttl(63);
    lab.expect_tx(ETH1, &outer(rip(0).into()).carrying(&left));
    let gre = Tunnel::Gre {
        checksum: TunnelChecksum::Absent,
    };
    for service in &mut lab.config.services {
        service.servers[0].tunnel = gre;
    }
    let config = lab.config.clone();
    lab.engine.apply(&config).expect("a good configuration");
    lab.inbound(&packet);
    let (_, sent) = lab.port().take_sent().expect("sent");
    assert_eq!(sent, wrapped(gre, rip(0).into(), &left, &sent).bytes());
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
fn the_outer_headers_count_towards_the_mtu() {
    for rip in [IpAddr::from(rip(0)), rip6(0).into()] {
        for tunnel in every_tunnel() {
            let room = 1500 - tunnel.overhead(rip.is_ipv4());
            let mut lab = lab_of(VIP.into(), rip, tunnel);
            let of_len = |len: usize| {
                client_of(VIP.into())
                    .udp(4000, 80)
                    .payload(&vec![7; len - 28])
            };
            lab.inbound(&of_len(room));
            let (_, sent) = lab.port().take_sent().expect("sent");
            let expected = wrapped(tunnel, rip, &of_len(room).ttl(63), &sent);
            assert_eq!(sent, expected.bytes());
            assert_eq!(sent.len(), 14 + 1500, "{tunnel:?}");
            lab.inbound(&of_len(room + 1));
            let answer = pkt().ethernet(ETH0_MAC, CLIENT_MAC).ipv4(VIP, CIP);
            let answer = answer.tos(0xc0).id(0, false);
            let quoted = of_len(room + 1).ttl(63);
            let error = (3, 4, room as u32);
            lab.expect_tx(ETH0, &answer.icmp_error(error, &quoted, 548));
            lab.expect_nothing_sent();
            lab.expect_counters(&["conn.open", "tx", "drop.too_big", "icmp.sent", "tx"]);
        }
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

/// A router on the way to the servers, and our address there.
fn router_to(rip: IpAddr) -> PacketBuilder {
    match rip {
        IpAddr::V4(_) => pkt().ipv4([10, 1, 0, 77].into(), DIP),
        IpAddr::V6(_) => pkt().ipv6("2001:db8:1::77".parse().expect("valid"), DIP6),
    }
}

/// How much an ICMP error quotes.
fn quoted_in(family: IpAddr) -> usize {
    if family.is_ipv4() { 548 } else { 1232 }
}

/// The datagram from port 4000, of so many bytes with its headers.
fn datagram(vip: IpAddr, len: usize) -> PacketBuilder {
    let headers = if vip.is_ipv4() { 28 } else { 48 };
    let packet = client_of(vip).udp(4000, 80);
    packet.payload(&vec![7; len - headers])
}

/// What the client is told about a packet, as far as so many bytes of it are known.
fn told(vip: IpAddr, error: (u8, u8, u32), about: &PacketBuilder, known: usize) -> PacketBuilder {
    let answer = match vip {
        IpAddr::V4(vip) => pkt().ipv4(vip, CIP).tos(0xc0).id(0, false),
        IpAddr::V6(vip) => pkt().ipv6(vip, CIP6),
    };
    let answer = answer.ethernet(ETH0_MAC, CLIENT_MAC);
    answer.icmp_error(error, &about.clone().ttl(63), known.min(quoted_in(vip)))
}

fn too_big(family: IpAddr, mtu: u32) -> (u8, u8, u32) {
    if family.is_ipv4() {
        (3, 4, mtu)
    } else {
        (2, 0, mtu)
    }
}

#[test]
fn errors_about_a_tunnels_packet_are_told_to_the_client_in_its_own_words() {
    let families = [
        (VIP.into(), rip(0).into()),
        (VIP.into(), rip6(0).into()),
        (VIP6.into(), rip(0).into()),
        (VIP6.into(), rip6(0).into()),
    ];
    for tunnel in every_tunnel() {
        for (vip, rip) in families {
            println!("{tunnel:?} to {vip} by {rip}");
            let mut lab = lab_of(vip, rip, tunnel);
            let added = tunnel.overhead(IpAddr::is_ipv4(&rip));
            let large = datagram(vip, 1500 - added);
            lab.inbound(&large);
            let (_, sent) = lab.port().take_sent().expect("sent");
            let outer = wrapped(tunnel, rip, &large.clone().ttl(63), &sent);
            assert_eq!(sent, outer.bytes());
            let from_router = |error| router_to(rip).icmp_error(error, &outer, quoted_in(rip));
            let known = quoted_in(rip) - added;
            // Time exceeded, and no route.
            let said = if rip.is_ipv4() {
                [(11, 0, 0), (3, 0, 0)]
            } else {
                [(3, 0, 0), (1, 0, 0)]
            };
            let heard = match (rip.is_ipv4(), IpAddr::is_ipv4(&vip)) {
                (true, true) => [(11, 0, 0), (3, 0, 0)],
                (false, false) => [(3, 0, 0), (1, 0, 0)],
                (false, true) => [(11, 0, 0), (3, 1, 0)],
                (true, false) => [(3, 0, 0), (1, 3, 0)],
            };
            for (said, heard) in said.into_iter().zip(heard) {
                lab.outbound(&from_router(said));
                lab.expect_tx(ETH0, &told(vip, heard, &large, known));
            }
            // The MTU that is told is the one that was in use, until a large packet meets the new one.
            lab.outbound(&from_router(too_big(rip, 1400)));
            let in_use = too_big(vip, 1500 - added as u32);
            lab.expect_tx(ETH0, &told(vip, in_use, &large, known));
            let fits = 1400 - added;
            let one_more = datagram(vip, fits + 1);
            lab.inbound(&one_more);
            let heard = too_big(vip, fits as u32);
            lab.expect_tx(ETH0, &told(vip, heard, &one_more, usize::MAX));
            lab.inbound(&datagram(vip, fits));
            let (egress, sent) = lab.port().take_sent().expect("sent");
            assert_eq!((egress, sent.len()), (ETH1, 14 + 1400));
            let mut moved = vec!["tx"; 6];
            moved.extend(["conn.open", "drop.too_big", "icmp.sent"]);
            lab.expect_counters(&moved);
        }
    }
}

#[test]
fn what_every_link_carries_of_ipv6_gets_through_a_tunnel_of_any_width() {
    for rip in [IpAddr::from(rip(0)), rip6(0).into()] {
        let mut lab = lab(VIP6.into(), rip);
        let large = datagram(VIP6.into(), 1400);
        lab.inbound(&large);
        let (_, sent) = lab.port().take_sent().expect("sent");
        let outer = wrapped(Tunnel::Ipip, rip, &large.ttl(63), &sent);
        let narrow = router_to(rip).icmp_error(too_big(rip, 1280), &outer, quoted_in(rip));
        lab.outbound(&narrow);
        lab.port().take_sent().expect("told");
        let one_more = datagram(VIP6.into(), 1281);
        lab.inbound(&one_more);
        let heard = told(VIP6.into(), (2, 0, 1280), &one_more, usize::MAX);
        lab.expect_tx(ETH0, &heard);
        lab.inbound(&datagram(VIP6.into(), 1280));
        for _fragment in 0..2 {
            let (egress, frame) = lab.port().take_sent().expect("sent");
            assert_eq!(egress, ETH1);
            assert!(lb_wire::fragment(&frame).is_some() && frame.len() <= 14 + 1280);
        }
        lab.expect_nothing_sent();
    }
}

#[test]
fn errors_about_another_tunnel_than_the_servers_are_the_kernels() {
    let gue = |port| Tunnel::Gue {
        port,
        checksum: TunnelChecksum::Absent,
    };
    let gre = Tunnel::Gre {
        checksum: TunnelChecksum::Absent,
    };
    let rip = IpAddr::from(rip(0));
    for (ours, other) in [
        (Tunnel::Ipip, gre),
        (gre, Tunnel::Ipip),
        (gue(6080), gue(6081)),
    ] {
        let mut lab = lab_of(VIP.into(), rip, ours);
        let packet = datagram(VIP.into(), 100);
        lab.inbound(&packet);
        let (_, sent) = lab.port().take_sent().expect("sent");
        // The source port of generic UDP encapsulation, or anything.
        let mut ports = sent.clone();
        ports[34] = 0x90;
        let outer = wrapped(other, rip, &packet.ttl(63), &ports);
        let error = router_to(rip).icmp_error((3, 1, 0), &outer, quoted_in(rip));
        lab.outbound(&error);
        lab.expect_punted(ETH1, &error);
        lab.expect_counters(&["conn.open", "tx", "punt.not_ours"]);
    }
}
