//! ICMP errors about packets of conns follow the conn; headers that are kept, and options that are acted on.

mod lab;

use std::net::IpAddr;

use lab::*;
use lb::{Endpoint, InterfaceId, Mac, Protocol};
use lb_testkit::{PacketBuilder, pkt};

/// The addresses of one family, and its errors: of each kind that is followed one.
struct Family {
    cip: IpAddr,
    vip: IpAddr,
    rip: IpAddr,
    /// On the clients' side, and on the servers'.
    routers: [IpAddr; 2],
    errors: &'static [(u8, u8, u32)],
}

fn families() -> [Family; 2] {
    let ip = |text: &str| text.parse().expect("valid");
    [
        Family {
            cip: CIP.into(),
            vip: VIP.into(),
            rip: rip(0).into(),
            routers: [ip("192.0.2.77"), ip("10.1.0.77")],
            errors: &[(3, 1, 0), (3, 3, 0), (3, 4, 1400), (4, 0, 0), (11, 0, 0)],
        },
        Family {
            cip: CIP6.into(),
            vip: VIP6.into(),
            rip: rip6(0).into(),
            routers: [ip("2001:db8:c::77"), ip("2001:db8:1::77")],
            errors: &[(1, 0, 0), (1, 4, 0), (2, 0, 1400), (3, 0, 0)],
        },
    ]
}

fn port(mode: &str) -> u16 {
    if mode == "nat" { 8080 } else { 80 }
}

/// With a conn from port 4000.
fn lab(family: &Family, mode: &str, protocol: Protocol) -> Lab {
    let server = Endpoint::new(family.rip.into(), port(mode));
    let mut lab = Lab::new(vec![
        service_at(family.vip, mode, protocol).with_server(server, 1),
    ]);
    lab.inbound(&segment(protocol, (family.cip, 4000), (family.vip, 80)).syn());
    assert!(lab.port().take_sent().is_some());
    lab.expect_counters(&["conn.open", "tx"]);
    lab
}

fn segment(protocol: Protocol, from: (IpAddr, u16), to: (IpAddr, u16)) -> PacketBuilder {
    let packet = pkt().ip(from.0, to.0).payload(b"what it was about");
    match protocol {
        Protocol::Tcp => packet.tcp(from.1, to.1),
        _ => packet.udp(from.1, to.1),
    }
}

/// The bytes that the translation of a quoted segment leaves alone: its checksum, at this place of the frame.
fn without_quoted_checksum(frame: &[u8], protocol: Protocol) -> Vec<u8> {
    let is_v4 = frame[12] == 8;
    let field = if protocol == Protocol::Tcp { 16 } else { 6 };
    let ip = if is_v4 { 20 } else { 40 };
    let mut frame = frame.to_vec();
    for at in [14 + ip + 2, 14 + ip + 8 + ip + field] {
        frame[at..at + 2].fill(0);
    }
    frame
}

#[track_caller]
fn expect_error(
    lab: &mut Lab,
    (egress, mac, to): (InterfaceId, Mac, Mac),
    expected: PacketBuilder,
    protocol: Protocol,
) {
    let (sent_on, frame) = lab.port().take_sent().expect("sent");
    assert_eq!(sent_on, egress);
    let parsed = lb_wire::icmp_error(&frame).expect("an error");
    let message = &frame[usize::from(parsed.l4)..];
    let mut sum: u32 = message
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)))
        .sum();
    if frame[12] != 8 {
        let addresses = &frame[22..54];
        sum += addresses
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
            .sum::<u32>()
            + message.len() as u32
            + 58;
    }
    let folded = (sum & 0xffff) + (sum >> 16);
    assert_eq!((folded & 0xffff) + (folded >> 16), 0xffff, "ICMP checksum");
    let expected = expected.ethernet(mac, to).bytes();
    assert_eq!(
        without_quoted_checksum(&frame, protocol),
        without_quoted_checksum(&expected, protocol)
    );
}

#[test]
fn errors_from_the_clients_side_reach_the_server_in_every_mode() {
    for family in families() {
        for (mode, protocol) in [
            ("dr", Protocol::Tcp),
            ("dr", Protocol::Udp),
            ("nat", Protocol::Tcp),
            ("nat", Protocol::Udp),
        ] {
            let mut lab = lab(&family, mode, protocol);
            for error in family.errors {
                for from in [family.cip, family.routers[0]] {
                    let seen = segment(protocol, (family.vip, 80), (family.cip, 4000));
                    let here = pkt().ip(from, family.vip);
                    lab.inbound(&here.icmp_error(*error, &seen, 60));
                    let (to, sent) = if mode == "nat" {
                        let server = (family.rip, port(mode));
                        (family.rip, segment(protocol, server, (family.cip, 4000)))
                    } else {
                        (family.vip, seen)
                    };
                    let there = pkt().ip(from, to).ttl(63).icmp_error(*error, &sent, 60);
                    expect_error(&mut lab, (ETH1, ETH1_MAC, rip_mac(0)), there, protocol);
                    lab.expect_counters(&["tx"]);
                }
            }
        }
    }
}

#[test]
fn errors_from_the_servers_side_reach_the_client_as_the_services() {
    for family in families() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mut lab = lab(&family, "nat", protocol);
            for error in family.errors {
                for from in [family.rip, family.routers[1]] {
                    let seen = segment(protocol, (family.cip, 4000), (family.rip, 8080));
                    let here = pkt().ip(from, family.cip);
                    lab.outbound(&here.icmp_error(*error, &seen, 60));
                    let sent = segment(protocol, (family.cip, 4000), (family.vip, 80));
                    let there = pkt().ip(family.vip, family.cip).ttl(63);
                    let there = there.icmp_error(*error, &sent, 60);
                    expect_error(&mut lab, (ETH0, ETH0_MAC, CLIENT_MAC), there, protocol);
                    lab.expect_counters(&["tx"]);
                }
            }
        }
    }
}

#[test]
fn a_tunnel_carries_errors_to_the_server() {
    let [v4, _] = families();
    let mut lab = lab(&v4, "tun", Protocol::Tcp);
    let seen = segment(Protocol::Tcp, (v4.vip, 80), (v4.cip, 4000));
    let error = pkt().ip(v4.cip, v4.vip).icmp_error((3, 4, 1400), &seen, 60);
    lab.inbound(&error);
    let outer = pkt().ethernet(ETH1_MAC, rip_mac(0)).ipv4(DIP, rip(0));
    let outer = outer.ttl(63).id(0, true);
    lab.expect_tx(ETH1, &outer.carrying(&error.ttl(63)));
    lab.expect_counters(&["tx"]);
}

#[test]
fn an_error_about_a_tunnels_packet_becomes_one_about_the_clients() {
    let [v4, _] = families();
    let mut lab = lab(&v4, "tun", Protocol::Tcp);
    let of_len = |len: usize| {
        let packet = pkt().ipv4(CIP, VIP).tcp(4000, 80);
        packet.payload(&vec![0; len - 40])
    };
    let outer = |inner: &PacketBuilder| {
        let outer = pkt().ethernet(ETH1_MAC, rip_mac(0)).ipv4(DIP, rip(0));
        outer.ttl(63).id(0, true).carrying(inner)
    };
    let answer = |error, quoted: &PacketBuilder| {
        let answer = pkt().ethernet(ETH0_MAC, CLIENT_MAC).ipv4(VIP, CIP);
        let answer = answer.tos(0xc0).id(0, false);
        answer.icmp_error(error, quoted, 548)
    };
    let large = of_len(1480).ttl(63);
    let from_router = |error| {
        let router = "10.1.0.77".parse().expect("valid");
        let packet = pkt().ipv4(router, DIP);
        packet.icmp_error(error, &outer(&large), 576)
    };
    lab.outbound(&from_router((11, 0, 0)));
    lab.expect_tx(ETH0, &answer((11, 0, 0), &large));
    // The MTU that is told is the one that was in use, until a large packet meets the new one.
    for (received, told) in [(1400u32, 1480u32), (1400, 1480)] {
        lab.outbound(&from_router((3, 4, received)));
        let (_, frame) = lab.port().take_sent().expect("sent");
        assert_eq!(frame[38..42], told.to_be_bytes());
    }
    lab.inbound(&of_len(1381));
    lab.expect_tx(ETH0, &answer((3, 4, 1380), &of_len(1381).ttl(63)));
    lab.inbound(&of_len(1380));
    lab.expect_tx(ETH1, &outer(&of_len(1380).ttl(63)));
    lab.pass_time(600);
    lab.inbound(&of_len(1480));
    lab.expect_tx(ETH1, &outer(&of_len(1480).ttl(63)));
}

#[test]
fn errors_that_are_not_of_a_conn_are_the_kernels() {
    for family in families() {
        let mut lab = lab(&family, "nat", Protocol::Tcp);
        let error = family.errors[0];
        let stranger = segment(Protocol::Tcp, (family.vip, 80), (family.cip, 4001));
        let parameter_problem = if family.vip.is_ipv4() { 12 } else { 4 };
        let seen = segment(Protocol::Tcp, (family.vip, 80), (family.cip, 4000));
        let here = || pkt().ip(family.cip, family.vip);
        for (packet, reason) in [
            (here().icmp_error(error, &stranger, 60), "punt.not_ours"),
            (
                here().icmp_error((parameter_problem, 0, 0), &seen, 60),
                "punt.not_balanced",
            ),
            (here().icmp_error(error, &seen, 23), "punt.not_balanced"),
        ] {
            lab.inbound(&packet);
            lab.expect_punted(ETH0, &packet);
            lab.expect_counters(&[reason]);
        }
        let mut broken = here().icmp_error(error, &seen, 60).bytes();
        *broken.last_mut().expect("not empty") ^= 1;
        assert!(lab.port().inject(ETH0, &broken));
        lab.turn();
        lab.expect_nothing_sent();
        lab.expect_counters(&["drop.malformed"]);
    }
}

#[test]
fn a_route_is_recorded_in_both_directions_and_tags_are_kept() {
    let [v4, _] = families();
    let mut lab = lab(&v4, "nat", Protocol::Tcp);
    let empty = [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let [a, b, c, d] = VIP.octets();
    let filled = [7, 11, 8, a, b, c, d, 0, 0, 0, 0, 0];
    let tagged = |packet: PacketBuilder| packet.vlan(&[100, 7]);
    let client = pkt().ipv4(CIP, VIP).tcp(4000, 80);
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
