//! What servers that do not see their clients are told of them, byte by byte (`docs/wire-formats.md`).

use std::net::IpAddr;

use crate::lab::*;
use lb::{ClientAddress, Protocol, ServiceConfig};
use lb_testkit::{PacketBuilder, pkt};

/// A mode, and what servers see of it.
#[derive(Clone, Copy)]
struct Case {
    mode: &'static str,
    family: Family,
}

fn cases() -> [Case; 4] {
    let case = |mode, family| Case { mode, family };
    [
        case("fnat", V4),
        case("fnat", V6),
        case("enat", V4.with_vip_as_source()),
        case("enat", V6.with_vip_as_source()),
    ]
}

impl Case {
    fn lab(self, protocol: Protocol) -> Lab {
        Lab::new(vec![self.service(protocol)])
    }

    /// Datagrams tell of their client, too: in ENAT always, in FNAT where a service asks for it.
    fn lab_of_datagrams(self) -> Lab {
        let mut service = self.service(Protocol::Udp);
        if self.mode == "fnat" {
            service.client_address = Some(ClientAddress::Uoa);
        }
        Lab::new(vec![service])
    }

    fn service(self, protocol: Protocol) -> ServiceConfig {
        let mut service = self.family.service(self.mode, protocol, 1);
        if self.mode == "fnat" {
            service.local_addresses = vec![self.family.lip.into()];
        }
        service
    }

    /// What the client's port 4000 is announced with: kind 254, length, 4000, CIP, in ENAT 80 and `EN`.
    fn option(self) -> Vec<u8> {
        let mut option = vec![254, 0, 0x0f, 0xa0];
        match self.family.cip {
            IpAddr::V4(cip) => option.extend(cip.octets()),
            IpAddr::V6(cip) => option.extend(cip.octets()),
        }
        if self.mode == "enat" && self.family.cip.is_ipv4() {
            option.extend([0, 80, 0x45, 0x4e]);
        }
        option[1] = option.len() as u8;
        option
    }

    fn client(self) -> PacketBuilder {
        self.family.client_sends().tcp(4000, 80)
    }

    fn to_server(self) -> PacketBuilder {
        self.family.server_gets(0).tcp(1024, 8080)
    }

    fn server(self) -> PacketBuilder {
        self.family.server_sends(0).tcp(8080, 1024)
    }

    fn to_client(self) -> PacketBuilder {
        self.family.client_gets().tcp(80, 4000)
    }
}

/// What a Linux SYN says beside its segment size: selective acknowledgements, a time stamp, a window scale.
const LINUX: [u8; 16] = [4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];

fn segment_size(size: u16) -> Vec<u8> {
    let [high, low] = size.to_be_bytes();
    [&[2, 4, high, low][..], &LINUX].concat()
}

#[test]
fn the_option_is_on_the_syn_and_until_anything_but_the_servers_syn_is_acknowledged() {
    for case in cases() {
        let mut lab = case.lab(Protocol::Tcp);
        let option = case.option();
        let told = |rest: &[u8]| [&option[..], rest].concat();
        let syn = |p: PacketBuilder| p.syn().numbers(100, 0);
        for _retransmitted in 0..2 {
            lab.inbound(&syn(case.client()).tcp_options(&segment_size(1460)));
            let expected = told(&segment_size(1460 - option.len() as u16));
            lab.expect_tx(ETH1, &syn(case.to_server()).tcp_options(&expected));
        }
        // In ENAT the server's SYN goes past us, and the first acknowledgement is taken for its.
        if case.mode == "fnat" {
            let answer = |p: PacketBuilder| p.syn_ack().numbers(u32::MAX, 101);
            lab.outbound(&answer(case.server()).tcp_options(&segment_size(1460)));
            let expected = segment_size(1460 - option.len() as u16);
            lab.expect_tx(ETH0, &answer(case.to_client()).tcp_options(&expected));
        }
        let segments = [
            (case.client().numbers(101, 0), true),
            (
                case.client().numbers(101, 0).payload(b"GET / HTTP/1.1"),
                true,
            ),
            (
                case.client().numbers(101, 0).payload(b"GET / HTTP/1.1"),
                true,
            ),
            (case.client().numbers(115, 7), false),
            (case.client().numbers(115, 7).payload(b"odd"), false),
        ];
        let time_stamp = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7];
        for (segment, is_told) in segments {
            let forwarded = segment
                .clone()
                .ethernet(ETH1_MAC, rip_mac(0))
                .ip(case.family.lip, (case.family.rip)(0))
                .tcp(1024, 8080)
                .ttl(63);
            for rest in [&[][..], &time_stamp] {
                lab.inbound(&segment.clone().tcp_options(rest));
                let options = if is_told { told(rest) } else { rest.to_vec() };
                lab.expect_tx(ETH1, &forwarded.clone().tcp_options(&options));
            }
        }
        let replies = if case.mode == "fnat" { 1 } else { 0 };
        let mut moved = vec!["tx"; 12 + replies];
        moved.push("conn.open");
        lab.expect_counters(&moved);
    }
}

#[test]
fn a_servers_syn_says_it_better_than_the_first_acknowledgement() {
    let case = cases()[0];
    let mut lab = case.lab(Protocol::Tcp);
    let told = |p: PacketBuilder| p.tcp_options(&case.option());
    lab.inbound(&case.client().syn().numbers(100, 0));
    lab.expect_tx(ETH1, &told(case.to_server().syn().numbers(100, 0)));
    lab.outbound(&case.server().syn_ack().numbers(500, 101));
    lab.expect_tx(ETH0, &case.to_client().syn_ack().numbers(500, 101));
    for (acknowledged, is_told) in [(7, false), (501, true), (502, false), (501, true)] {
        lab.inbound(&case.client().numbers(101, acknowledged));
        let plain = case.to_server().numbers(101, acknowledged);
        lab.expect_tx(ETH1, &if is_told { told(plain) } else { plain });
    }
}

#[test]
fn a_clients_own_option_is_overwritten_wherever_it_is() {
    for case in cases() {
        let mut lab = case.lab(Protocol::Tcp);
        let told = case.option();
        let forged = [1, 254, 8, 1, 2, 3, 4, 5, 6, 2, 4, 5, 0xb4, 254, 3, 9];
        let gone = |mss: u16| {
            let [high, low] = mss.to_be_bytes();
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, high, low, 1, 1, 1]
        };
        lab.inbound(&case.client().syn().numbers(100, 0).tcp_options(&forged));
        let expected = [&told[..], &gone(1460 - told.len() as u16)].concat();
        let forwarded = case.to_server().syn().numbers(100, 0);
        lab.expect_tx(ETH1, &forwarded.tcp_options(&expected));
        lab.inbound(&case.client().numbers(101, 1));
        lab.expect_tx(ETH1, &case.to_server().numbers(101, 1).tcp_options(&told));
        // Later, too, when nothing of ours comes in its place.
        lab.inbound(&case.client().numbers(101, 2).tcp_options(&forged));
        let forwarded = case.to_server().numbers(101, 2);
        lab.expect_tx(ETH1, &forwarded.tcp_options(&gone(1460)));
        // And where it is as long as the time stamp that most segments have alone.
        let as_long = [254, 12, 1, 2, 3, 4, 5, 6, 0, 80, b'E', b'N'];
        lab.inbound(&case.client().numbers(101, 2).tcp_options(&as_long));
        let forwarded = case.to_server().numbers(101, 2);
        lab.expect_tx(ETH1, &forwarded.tcp_options(&[1; 12]));
        // What a receiver does not read is left alone: behind the list's end, behind what cannot be.
        for rest in [[0, 254, 4, 9], [3, 1, 254, 2], [254, 9, 9, 9]] {
            lab.inbound(&case.client().numbers(101, 2).tcp_options(&rest));
            let forwarded = case.to_server().numbers(101, 2);
            lab.expect_tx(ETH1, &forwarded.tcp_options(&rest));
        }
    }
}

#[test]
fn without_room_a_segment_goes_without() {
    for case in cases() {
        let mut lab = case.lab(Protocol::Tcp);
        // 40 bytes of options are all there can be.
        let full = [1; 40];
        lab.inbound(&case.client().syn().tcp_options(&full));
        lab.expect_tx(ETH1, &case.to_server().syn().tcp_options(&full));
        lab.expect_counters(&["tx", "conn.open", "client_address.no_room"]);
        // The option fits to the byte, and then it does not.
        let option = case.option();
        let headers = if case.family.cip.is_ipv4() { 40 } else { 60 };
        for (room, is_told) in [(option.len(), true), (option.len() - 1, false)] {
            let payload = vec![7; 1500 - headers - room];
            lab.inbound(&case.client().payload(&payload));
            let plain = case.to_server().payload(&payload);
            let told = plain.clone().tcp_options(&option);
            lab.expect_tx(ETH1, &if is_told { told } else { plain });
        }
        lab.expect_counters(&["tx", "tx", "client_address.no_room"]);
    }
}

#[test]
fn a_path_that_is_too_narrow_for_the_option_is_spared_it() {
    for case in cases() {
        let mut lab = case.lab(Protocol::Tcp);
        let full = [7; 1300];
        lab.inbound(&case.client().syn());
        lab.inbound(&case.client().payload(&full));
        assert!(lab.port().take_sent().is_some());
        let told = case.to_server().tcp_options(&case.option()).payload(&full);
        lab.expect_tx(ETH1, &told);
        let kind = if case.family.cip.is_ipv4() {
            (3, 4, 1345)
        } else {
            (2, 0, 1365)
        };
        let router = pkt().ip((case.family.rip)(0), case.family.lip);
        lab.outbound(&router.icmp_error(kind, &told, 68));
        let relayed = lab.port().take_sent().expect("to the client").1;
        let at = if case.family.cip.is_ipv4() { 38 } else { 58 };
        assert_eq!(relayed[at..at + 4], u32::from(kind.2 as u16).to_be_bytes());
        // The client knows of no option, and what it sends fits without.
        lab.inbound(&case.client().payload(&full));
        lab.expect_tx(ETH1, &case.to_server().payload(&full));
    }
}

#[test]
fn a_service_may_tell_nothing_but_does_not_let_clients_tell_either() {
    let case = cases()[0];
    let mut service = case.service(Protocol::Tcp);
    service.client_address = Some(ClientAddress::None);
    let mut lab = Lab::new(vec![service]);
    lab.inbound(&case.client().syn().tcp_options(&segment_size(1460)));
    let expected = case.to_server().syn().tcp_options(&segment_size(1460));
    lab.expect_tx(ETH1, &expected);
    lab.inbound(&case.client().tcp_options(&case.option()));
    lab.expect_tx(ETH1, &case.to_server().tcp_options(&[1; 8]));
    lab.outbound(&case.server().syn_ack().tcp_options(&segment_size(1460)));
    let expected = case.to_client().syn_ack().tcp_options(&segment_size(1460));
    lab.expect_tx(ETH0, &expected);
}

#[test]
fn what_the_component_on_the_server_does_not_know_is_answered_through_us() {
    for case in &cases()[2..] {
        let mut lab = case.lab(Protocol::Tcp);
        lab.inbound(&case.client().syn().numbers(100, 0));
        let forwarded = case.to_server().syn().numbers(100, 0);
        lab.expect_tx(ETH1, &forwarded.tcp_options(&case.option()));
        lab.outbound(&case.server().rst());
        lab.expect_tx(ETH0, &case.to_client().rst());
        lab.expect_counters(&["tx", "conn.open", "tx"]);
    }
}

/// The option of UDP: over IPv4 in the IP header, over IPv6 in a header of its own.
fn marked(case: Case, datagram: PacketBuilder) -> PacketBuilder {
    match case.family.cip {
        IpAddr::V4(_) => {
            let mut option = case.option();
            option[0] = 31;
            datagram.options(&option)
        }
        IpAddr::V6(cip) => {
            let body = [&[0x1e, 20, 0x0f, 0xa0][..], &cip.octets(), &[0, 80]].concat();
            datagram.extension(60, &body)
        }
    }
}

#[test]
fn the_first_three_datagrams_carry_an_ip_option() {
    for case in cases() {
        let mut lab = case.lab_of_datagrams();
        for number in 0..5 {
            let asked = case.family.client_sends().udp(4000, 80);
            let forwarded = case.family.server_gets(0).udp(1024, 8080);
            lab.inbound(&asked.payload(b"odd"));
            let forwarded = forwarded.payload(b"odd");
            let expected = if number < 3 {
                marked(case, forwarded)
            } else {
                forwarded
            };
            lab.expect_tx(ETH1, &expected);
        }
        lab.outbound(&case.family.server_sends(0).udp(8080, 1024));
        lab.expect_tx(ETH0, &case.family.client_gets().udp(80, 4000));
        let mut moved = vec!["tx"; 6];
        moved.push("conn.open");
        lab.expect_counters(&moved);
    }
}

#[test]
fn a_clients_own_ip_option_is_overwritten_and_ours_comes_before_what_else_there_is() {
    for case in cases() {
        let mut lab = case.lab_of_datagrams();
        let asked = || case.family.client_sends().udp(4000, 80);
        let forwarded = || case.family.server_gets(0).udp(1024, 8080);
        for number in 0..4 {
            let (forged, cleaned) = if case.family.cip.is_ipv4() {
                let cleaned = [1, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0];
                let ours = marked(case, forwarded());
                let mut options = case.option();
                options[0] = 31;
                options.extend(cleaned);
                let cleaned = if number < 3 {
                    ours.options(&options)
                } else {
                    forwarded().options(&cleaned)
                };
                let forged = [31, 8, 1, 2, 3, 4, 5, 6, 148, 4, 0, 0];
                (asked().options(&forged), cleaned)
            } else {
                let hop_by_hop = [5, 2, 0, 0, 1, 0];
                let ours = forwarded().extension(0, &hop_by_hop);
                let ours = if number < 3 { marked(case, ours) } else { ours };
                let forged = asked()
                    .extension(0, &hop_by_hop)
                    .extension(60, &[0, 0x1e, 3, 1, 2, 3]);
                (forged, ours.extension(60, &[0, 1, 3, 0, 0, 0]))
            };
            lab.inbound(&forged);
            lab.expect_tx(ETH1, &cleaned);
        }
    }
}

#[test]
fn a_datagram_without_room_for_the_ip_option_goes_without() {
    let case = cases()[2];
    let mut lab = case.lab_of_datagrams();
    let full = [1; 32];
    lab.inbound(&case.family.client_sends().udp(4000, 80).options(&full));
    let forwarded = case.family.server_gets(0).udp(1024, 8080).options(&full);
    lab.expect_tx(ETH1, &forwarded);
    let payload = vec![7; 1500 - 28 - 11];
    lab.inbound(&case.family.client_sends().udp(4000, 80).payload(&payload));
    let forwarded = case.family.server_gets(0).udp(1024, 8080).payload(&payload);
    lab.expect_tx(ETH1, &forwarded);
    let no_room = "client_address.no_room";
    lab.expect_counters(&["tx", "conn.open", no_room, "tx", no_room]);
}

#[test]
fn a_proxy_header_stands_before_every_payload() {
    for case in &cases()[..2] {
        let mut service = case.service(Protocol::Udp);
        service.client_address = Some(ClientAddress::ProxyV2);
        let mut lab = Lab::new(vec![service]);
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
        match (case.family.cip, case.family.vip) {
            (IpAddr::V4(cip), IpAddr::V4(vip)) => {
                header.extend([0x12, 0, 12]);
                header.extend([cip.octets(), vip.octets()].concat());
            }
            (IpAddr::V6(cip), IpAddr::V6(vip)) => {
                header.extend([0x22, 0, 36]);
                header.extend([cip.octets(), vip.octets()].concat());
            }
            _ => unreachable!("both of one family"),
        }
        header.extend([0x0f, 0xa0, 0, 80]);
        let asked = || case.family.client_sends().udp(4000, 80);
        let forwarded = || case.family.server_gets(0).udp(1024, 8080);
        for payload in [&b"odd"[..], b"even", b"", b"one more", b"and more"] {
            lab.inbound(&asked().payload(payload));
            let told = forwarded().payload(&[&header, payload].concat());
            lab.expect_tx(ETH1, &told);
        }
        if case.family.cip.is_ipv4() {
            lab.inbound(&asked().payload(b"odd").no_checksum());
            let told = forwarded().payload(&[&header, &b"odd"[..]].concat());
            lab.expect_tx(ETH1, &told.no_checksum());
        } else {
            lab.inbound(&asked().payload(b"odd").no_checksum());
            let told = forwarded().payload(&[&header, &b"odd"[..]].concat());
            lab.expect_tx(ETH1, &told);
        }
        // A server that waits for the header must not take a payload for one.
        let headers = if case.family.cip.is_ipv4() { 28 } else { 48 };
        lab.inbound(&asked().payload(&vec![7; 1500 - headers - header.len() + 1]));
        let (egress, told) = lab.port().take_sent().expect("the client is told");
        let mtu = (1500 - header.len()) as u16;
        let at = if case.family.cip.is_ipv4() { 40 } else { 60 };
        assert_eq!((egress, &told[at..at + 2]), (ETH0, &mtu.to_be_bytes()[..]));
        lab.expect_nothing_sent();
        let mut moved = vec!["tx"; 7];
        moved.extend(["conn.open", "drop.too_big", "icmp.sent"]);
        lab.expect_counters(&moved);
        // So of a router behind us.
        let kind = if case.family.cip.is_ipv4() {
            (3, 4, 1400)
        } else {
            (2, 0, 1400)
        };
        let error = pkt().ip((case.family.rip)(0), case.family.lip);
        lab.outbound(&error.icmp_error(kind, &forwarded().payload(&header), 68));
        let told = lab.port().take_sent().expect("forwarded").1;
        let mtu = &told[14 + headers - 8 + 4..][..4];
        assert_eq!(mtu, (1400 - header.len() as u32).to_be_bytes());
    }
}
