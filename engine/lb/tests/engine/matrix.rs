//! What becomes of a packet, in every mode: one table, gone through in both address families and for both protocols, byte by
//! byte.

use std::net::IpAddr;

use crate::lab::*;
use lb::{Endpoint, InterfaceId, Protocol};
use lb_testkit::{PacketBuilder, pkt};

use Cell::*;
use Event::*;

/// What an event comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cell {
    /// It goes to the server as the mode has it.
    ToServer,
    /// It goes to the client as the service's.
    ToClient,
    /// Its sender is told why it does not go on.
    Told,
    /// It does not come to us: servers answer their clients directly, and so do routers and servers that an answer or a
    /// client's own, unchanged packet does not reach. In ENAT that is so where the component on the server knows the conn.
    NotOurs,
}

/// What may come in, of a conn that is there but for the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// A SYN, or the first datagram.
    First,
    /// Payload in every dress of `DRESSES`.
    Data,
    /// Of TCP alone.
    Fin,
    /// Of TCP alone.
    Reset,
    /// From the server, in every dress.
    Answer,
    AnsweredFin,
    AnsweredReset,
    /// About an answer, of every kind, from the client and from a router before it.
    ErrorFromClientsSide,
    /// About a client's packet, of every kind, from the server and from a router before it.
    ErrorFromServersSide,
    /// In an order of their own.
    Fragments,
    AnswerInFragments,
    /// By one byte, and not to be fragmented.
    TooBig,
    AnswerTooBig,
}

#[rustfmt::skip]
const MATRIX: [(Event, [Cell; 5]); 13] = [
    //                       dr        nat       fnat      enat      tun
    (First,                [ToServer, ToServer, ToServer, ToServer, ToServer]),
    (Data,                 [ToServer, ToServer, ToServer, ToServer, ToServer]),
    (Fin,                  [ToServer, ToServer, ToServer, ToServer, ToServer]),
    (Reset,                [ToServer, ToServer, ToServer, ToServer, ToServer]),
    (Answer,               [NotOurs,  ToClient, ToClient, ToClient, NotOurs ]),
    (AnsweredFin,          [NotOurs,  ToClient, ToClient, ToClient, NotOurs ]),
    (AnsweredReset,        [NotOurs,  ToClient, ToClient, ToClient, NotOurs ]),
    (ErrorFromClientsSide, [ToServer, ToServer, ToServer, ToServer, ToServer]),
    (ErrorFromServersSide, [NotOurs,  ToClient, ToClient, ToClient, ToClient]),
    (Fragments,            [ToServer, ToServer, ToServer, ToServer, ToServer]),
    (AnswerInFragments,    [NotOurs,  ToClient, ToClient, ToClient, NotOurs ]),
    (TooBig,               [Told,     Told,     Told,     Told,     Told    ]),
    (AnswerTooBig,         [NotOurs,  Told,     Told,     Told,     NotOurs ]),
];

const MODES: [&str; 5] = ["dr", "nat", "fnat", "enat", "tun"];

/// What came in, and what leaves: the same, but for what the mode replaces, hops, MACs and a completed checksum.
type Dress = (&'static str, Change, Change);
type Change = fn(PacketBuilder) -> PacketBuilder;

const DRESSES: [Dress; 7] = [
    ("nothing", |p| p, |p| p),
    ("odd payload", |p| p.payload(b"odd"), |p| p.payload(b"odd")),
    (
        "partial checksum",
        |p| p.payload(b"left to a device").partial_checksum(),
        |p| p.payload(b"left to a device"),
    ),
    ("last hop", |p| p.ttl(2), |p| p.ttl(1)),
    ("class", |p| p.tos(0xb8), |p| p.tos(0xb8)),
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

#[test]
fn every_event_comes_to_what_the_matrix_says_in_every_mode() {
    for (event, cells) in MATRIX {
        for (mode, cell) in MODES.into_iter().zip(cells) {
            for family in [V4, V6] {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    let is_of_tcp = matches!(event, Fin | Reset | AnsweredFin | AnsweredReset);
                    if cell == NotOurs || (is_of_tcp && protocol == Protocol::Udp) {
                        continue;
                    }
                    println!("{event:?} in {mode}, {protocol} to {}", family.vip);
                    Lane::new(mode, family, protocol).run(event);
                }
            }
        }
    }
}

#[test]
fn errors_that_are_not_of_a_conn_are_the_kernels() {
    for family in [V4, V6] {
        let mut lane = Lane::new("nat", family, Protocol::Tcp);
        let error = lane.errors()[0];
        let [client, vip] = lane.sent;
        let stranger = lane.between([vip, (client.0, 4001)]);
        let seen = lane.between([vip, client]);
        let parameter_problem = if client.0.is_ipv4() { 12 } else { 4 };
        let here = || pkt().ip(client.0, vip.0);
        for (packet, reason) in [
            (here().icmp_error(error, &stranger, 60), "punt.not_ours"),
            (
                here().icmp_error((parameter_problem, 0, 0), &seen, 60),
                "punt.not_balanced",
            ),
            (here().icmp_error(error, &seen, 23), "punt.not_balanced"),
        ] {
            lane.lab.inbound(&packet);
            lane.lab.expect_punted(ETH0, &packet);
            lane.lab.expect_counters(&[reason]);
        }
        let mut broken = here().icmp_error(error, &seen, 60).bytes();
        *broken.last_mut().expect("not empty") ^= 1;
        assert!(lane.lab.port().inject(ETH0, &broken));
        lane.lab.turn();
        lane.lab.expect_nothing_sent();
        lane.lab.expect_counters(&["drop.malformed"]);
    }
}

/// Source and destination.
type Ends = [(IpAddr, u16); 2];

/// One mode, family and protocol: a client at port 4000, and server 0.
struct Lane {
    mode: &'static str,
    family: Family,
    protocol: Protocol,
    /// As the client sends.
    sent: Ends,
    /// As the server gets it.
    forwarded: Ends,
    lab: Lab,
}

impl Lane {
    fn new(mode: &'static str, family: Family, protocol: Protocol) -> Lane {
        let (client, vip) = ((family.cip, 4000), (family.vip, 80));
        let rip = (family.rip)(0);
        let forwarded = match mode {
            "nat" => [client, (rip, 8080)],
            "fnat" => [(family.lip, 1024), (rip, 8080)],
            "enat" => [(family.vip, 1024), (rip, 8080)],
            _ => [client, vip],
        };
        let server = Endpoint::new(rip.into(), forwarded[1].1);
        let mut service = service_at(family.vip, mode, protocol).with_server(server, 1);
        if mode == "fnat" {
            service = service.with_local_address(family.lip.into());
        }
        let mut lane = Lane {
            mode,
            family,
            protocol,
            sent: [client, vip],
            forwarded,
            lab: Lab::new(vec![service]),
        };
        lane.open();
        lane
    }

    /// Opens the conn, and brings it to where its server has been told of its client and nothing is added any more.
    fn open(&mut self) {
        let syn = |p: PacketBuilder| p.syn().numbers(100, 0);
        self.lab.inbound(&syn(self.between(self.sent)));
        let forwarded = syn(self.between(self.forwarded)).ttl(63);
        let introduced = self.introduced(forwarded);
        self.expect_at_server(introduced);
        for number in 0..3 {
            let packet = self.between(self.sent).numbers(101, 500 + 100 * number);
            self.lab.inbound(&packet);
            assert!(self.lab.port().take_sent().is_some());
        }
        let mut moved = vec!["tx"; 4];
        moved.push("conn.open");
        self.lab.expect_counters(&moved);
    }

    fn run(&mut self, event: Event) {
        match event {
            // Every lane begins with it.
            First => {}
            Data | Answer => {
                for (what, received, left) in DRESSES {
                    println!("    in {what}");
                    self.pass(event == Answer, received, left);
                }
            }
            Fin => self.pass(false, PacketBuilder::fin, PacketBuilder::fin),
            AnsweredFin => self.pass(true, PacketBuilder::fin, PacketBuilder::fin),
            Reset => self.pass(false, PacketBuilder::rst, PacketBuilder::rst),
            AnsweredReset => self.pass(true, PacketBuilder::rst, PacketBuilder::rst),
            ErrorFromClientsSide => self.errors_from_clients_side(),
            ErrorFromServersSide => self.errors_from_servers_side(),
            Fragments => self.fragments(false),
            AnswerInFragments => self.fragments(true),
            TooBig => self.too_big(false),
            AnswerTooBig => self.too_big(true),
        }
    }

    fn between(&self, [source, destination]: Ends) -> PacketBuilder {
        let packet = pkt().ip(source.0, destination.0).numbers(200, 900);
        match self.protocol {
            Protocol::Tcp => packet.tcp(source.1, destination.1),
            _ => packet.udp(source.1, destination.1),
        }
    }

    /// What is added to a conn's first packet.
    fn introduced(&self, packet: PacketBuilder) -> PacketBuilder {
        let asked = matches!(
            (self.mode, self.protocol),
            ("fnat", Protocol::Tcp) | ("enat", _)
        );
        if !asked {
            return packet;
        }
        let mut option = vec![254, 0, 0x0f, 0xa0];
        match self.family.cip {
            IpAddr::V4(cip) => option.extend(cip.octets()),
            IpAddr::V6(cip) => option.extend(cip.octets()),
        }
        if self.mode == "enat" && self.family.cip.is_ipv4() {
            option.extend([0, 80, 0x45, 0x4e]);
        }
        option[1] = option.len() as u8;
        match (self.protocol, self.family.cip.is_ipv4()) {
            (Protocol::Tcp, _) => packet.tcp_options(&option),
            (_, true) => {
                option[0] = 31;
                packet.options(&option)
            }
            (_, false) => packet.extension(60, &[&[0x1e, 20], &option[2..], &[0, 80]].concat()),
        }
    }

    /// One packet, and how it leaves.
    fn pass(&mut self, answer: bool, received: Change, left: Change) {
        if answer {
            let [client, server] = self.forwarded;
            self.lab.outbound(&received(self.between([server, client])));
            let [client, vip] = self.sent;
            let returned = self.between([vip, client]).ttl(63);
            self.lab.expect_tx(ETH0, &to_client(left(returned)));
        } else {
            self.lab.inbound(&received(self.between(self.sent)));
            let forwarded = self.between(self.forwarded).ttl(63);
            self.expect_at_server(left(forwarded));
        }
        self.lab.expect_counters(&["tx"]);
    }

    #[track_caller]
    fn expect_at_server(&mut self, packet: PacketBuilder) {
        let packet = self.wrapped(packet);
        self.lab.expect_tx(ETH1, &packet);
    }

    /// As it leaves for the server: in a tunnel within an outer header.
    fn wrapped(&self, packet: PacketBuilder) -> PacketBuilder {
        let packet = packet.ethernet(ETH1_MAC, rip_mac(0));
        if self.mode != "tun" {
            return packet;
        }
        let header = packet.bytes()[14..].to_vec();
        let outer = match (self.family.rip)(0) {
            IpAddr::V4(rip) => pkt()
                .ipv4(DIP, rip)
                .id(0, true)
                .tos(header[1])
                .ttl(header[8]),
            IpAddr::V6(rip) => {
                let class = header[0] << 4 | header[1] >> 4;
                pkt().ipv6(DIP6, rip).tos(class).ttl(header[7])
            }
        };
        outer.ethernet(ETH1_MAC, rip_mac(0)).carrying(&packet)
    }

    /// Each kind that is followed, and one MTU.
    fn errors(&self) -> &'static [(u8, u8, u32)] {
        match self.family.cip {
            IpAddr::V4(_) => &[(3, 1, 0), (3, 3, 0), (3, 4, 1400), (4, 0, 0), (11, 0, 0)],
            IpAddr::V6(_) => &[(1, 0, 0), (1, 4, 0), (2, 0, 1400), (3, 0, 0)],
        }
    }

    fn errors_from_clients_side(&mut self) {
        let [client, vip] = self.sent;
        let router = beside(client.0);
        for error in self.errors() {
            for from in [client.0, router] {
                let seen = self.between([vip, client]).payload(b"what it was about");
                self.lab
                    .inbound(&pkt().ip(from, vip.0).icmp_error(*error, &seen, 60));
                // Where the client's address is replaced, the router's is.
                let [source, server] = self.forwarded;
                let from = if source == client { from } else { source.0 };
                let sent = self.between([server, source]).payload(b"what it was about");
                let there = pkt()
                    .ip(from, server.0)
                    .ttl(63)
                    .icmp_error(*error, &sent, 60);
                let there = self.wrapped(there);
                self.expect_error(ETH1, there);
                self.lab.expect_counters(&["tx"]);
            }
        }
    }

    fn errors_from_servers_side(&mut self) {
        let ([client, vip], [source, server]) = (self.sent, self.forwarded);
        let rip = (self.family.rip)(0);
        for (at, error) in self.errors().iter().enumerate() {
            for from in [rip, beside(rip)] {
                let packet = self.between([source, server]).payload(b"what it was about");
                let left = self.between([client, vip]).payload(b"what it was about");
                let (here, there) = if self.mode == "tun" {
                    let dip = if rip.is_ipv4() {
                        DIP.into()
                    } else {
                        DIP6.into()
                    };
                    let here = pkt()
                        .ip(from, dip)
                        .icmp_error(*error, &self.wrapped(packet), 576);
                    // What a router of the client's network would have sent, in our name.
                    let told = pkt()
                        .ip(vip.0, client.0)
                        .tos(if rip.is_ipv4() { 0xc0 } else { 0 });
                    let mut error = *error;
                    if error.2 > 0 {
                        // The MTU that was in use.
                        error.2 = 1500 - if rip.is_ipv4() { 20 } else { 40 };
                    }
                    (here, told.id(0, false).icmp_error(error, &left, 576))
                } else {
                    let here = pkt().ip(from, source.0).icmp_error(*error, &packet, 60);
                    let there = pkt().ip(vip.0, client.0).ttl(63);
                    (here, there.icmp_error(*error, &left, 60))
                };
                println!("    {at}: from {from}");
                self.lab.outbound(&here);
                self.expect_error(ETH0, to_client(there));
                self.lab.expect_counters(&["tx"]);
            }
        }
    }

    /// The next frame sent, and its ICMP checksum; that of the segment it quotes is left as it was.
    #[track_caller]
    fn expect_error(&mut self, egress: InterfaceId, expected: PacketBuilder) {
        let (sent_on, frame) = self.lab.port().take_sent().expect("sent");
        assert_eq!(sent_on, egress);
        assert!(lb_testkit::checksums_hold(&frame), "{frame:02x?}");
        let ip = if self.family.cip.is_ipv4() { 20 } else { 40 };
        let field = if self.protocol == Protocol::Tcp {
            16
        } else {
            6
        };
        let [frame, expected] = [frame, expected.bytes()].map(|mut frame| {
            if matches!(self.mode, "nat" | "fnat" | "enat") {
                for at in [14 + ip + 2, 14 + ip + 8 + ip + field] {
                    frame[at..at + 2].fill(0);
                }
            }
            frame
        });
        assert_eq!(frame, expected);
    }

    /// A datagram or segment in three parts, the last first.
    fn fragments(&mut self, answer: bool) {
        let payload: Vec<u8> = (0..2500).map(|n| (n % 251) as u8).collect();
        let whole = |lane: &Lane, ends| lane.between(ends).id(0x77, false).payload(&payload);
        let ([client, vip], [source, server]) = (self.sent, self.forwarded);
        let (here, there, egress) = if answer {
            let there = whole(self, [vip, client]).ttl(63);
            (whole(self, [server, source]), to_client(there), ETH0)
        } else {
            let there = whole(self, self.forwarded).ttl(63);
            (whole(self, self.sent), self.wrapped(there), ETH1)
        };
        for part in here.split(1000).iter().rev() {
            self.lab.expect_nothing_sent();
            match answer {
                true => self.lab.outbound(part),
                false => self.lab.inbound(part),
            }
        }
        let mut sent = Vec::new();
        while let Some(frame) = self.lab.port().take_sent() {
            sent.push(frame);
        }
        if self.mode == "tun" && !answer {
            // How an outer packet is cut is the worker's choice.
            let header = if self.family.cip.is_ipv4() { 34 } else { 54 };
            let frames: Vec<&[u8]> = sent.iter().map(|(_, frame)| &frame[..]).collect();
            assert_eq!(joined(&frames), there.bytes()[header..]);
        } else {
            if self.family.cip.is_ipv6() {
                // So is the id of IPv6's fragments.
                for (_, frame) in &mut sent {
                    frame[58..62].copy_from_slice(&[0, 0, 0x12, 0x34]);
                }
            }
            let parts = there.split(1000);
            let expected: Vec<_> = parts.iter().map(|p| (egress, p.bytes())).collect();
            assert!(sent == expected, "other fragments than expected");
        }
        let moved = ["fragment.joined", "fragment.split"].repeat(2);
        self.lab.expect_counters(&[moved, vec!["tx"; 3]].concat());
    }

    fn too_big(&mut self, answer: bool) {
        let is_v4 = self.family.cip.is_ipv4();
        let added = match (self.mode, is_v4) {
            ("tun", true) => 20,
            ("tun", false) => 40,
            _ => 0,
        };
        let mtu = 1500 - added;
        let headers = self.between(self.sent).bytes().len() - 14;
        let of_len =
            |lane: &Lane, ends, len: usize| lane.between(ends).payload(&vec![7; len - headers]);
        let error = match is_v4 {
            true => (3, 4, mtu as u32),
            false => (2, 0, mtu as u32),
        };
        let at_most = if is_v4 { 548 } else { 1232 };
        let told = |from, to| {
            pkt()
                .ip(from, to)
                .tos(if is_v4 { 0xc0 } else { 0 })
                .id(0, false)
        };
        let ([client, vip], [source, server]) = (self.sent, self.forwarded);
        if answer {
            let large = of_len(self, [server, source], mtu + 1);
            self.lab.outbound(&large);
            let dip = if is_v4 { DIP.into() } else { DIP6.into() };
            let told = told(dip, server.0).ethernet(ETH1_MAC, rip_mac(0));
            self.lab
                .expect_tx(ETH1, &told.icmp_error(error, &large, at_most));
        } else {
            self.lab.inbound(&of_len(self, self.sent, mtu));
            let forwarded = of_len(self, self.forwarded, mtu).ttl(63);
            self.expect_at_server(forwarded);
            self.lab.expect_counters(&["tx"]);
            let large = of_len(self, self.sent, mtu + 1);
            self.lab.inbound(&large);
            let told = to_client(told(vip.0, client.0));
            self.lab
                .expect_tx(ETH0, &told.icmp_error(error, &large.ttl(63), at_most));
        }
        self.lab
            .expect_counters(&["drop.too_big", "icmp.sent", "tx"]);
    }
}

fn to_client(packet: PacketBuilder) -> PacketBuilder {
    packet.ethernet(ETH0_MAC, CLIENT_MAC)
}

/// What fragments carry together, each where it says.
fn joined(frames: &[&[u8]]) -> Vec<u8> {
    let mut payload = Vec::new();
    for frame in frames {
        assert!(frame.len() <= 14 + 1500);
        let fragment = lb_wire::fragment(frame).expect("a fragment");
        assert_eq!(fragment.offset, payload.len());
        payload.extend(fragment.payload);
    }
    payload
}

/// A router on the same network.
fn beside(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) => {
            let [a, b, c, _] = host.octets();
            [a, b, c, 77].into()
        }
        IpAddr::V6(host) => (u128::from(host) & !0xffff | 0x77).to_be_bytes().into(),
    }
}
