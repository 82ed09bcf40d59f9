//! What holds for every rewrite of every packet: checksums are valid after it, and the way back undoes the way in.

use crate::lab::*;
use lb::{ClientAddress, Protocol};
use lb_testkit::{PacketBuilder, checksums_hold};
use lb_wire::{IpHeader, TcpFlags};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: &'static str,
    v4: bool,
    protocol: Protocol,
    asked: Option<ClientAddress>,
}

impl Case {
    fn family(self) -> Family {
        match (self.v4, self.mode) {
            (true, "enat") => V4.with_vip_as_source(),
            (false, "enat") => V6.with_vip_as_source(),
            (true, _) => V4,
            (false, _) => V6,
        }
    }

    fn lab(self) -> Lab {
        let family = self.family();
        let mut service = family.service(self.mode, self.protocol, 1);
        service.client_address = self.asked;
        if self.mode == "fnat" {
            service.local_addresses = vec![family.lip.into()];
        }
        Lab::new(vec![service])
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    let kind = prop::sample::select(vec![
        ("nat", tcp, None),
        ("nat", udp, None),
        ("fnat", tcp, None),
        ("fnat", udp, None),
        ("fnat", udp, Some(ClientAddress::Uoa)),
        ("fnat", udp, Some(ClientAddress::ProxyV2)),
        ("enat", tcp, None),
        ("enat", udp, None),
    ]);
    (kind, any::<bool>()).prop_map(|((mode, protocol, asked), v4)| Case {
        mode,
        v4,
        protocol,
        asked,
    })
}

/// A packet from a client: its port, whether it is a SYN, its numbers, options, payload and how its checksum is.
#[derive(Clone, Debug)]
struct Sent {
    cport: u16,
    syn: bool,
    numbers: (u32, u32),
    tcp_options: Vec<u8>,
    ip_options: usize,
    payload: Vec<u8>,
    checksum: u8,
}

fn packets() -> impl Strategy<Value = Sent> {
    let options = prop::collection::vec(any::<u8>(), 0..=40).prop_map(|mut options| {
        options.truncate(options.len() / 4 * 4);
        options
    });
    let forged = Just(vec![1, 254, 8, 1, 2, 3, 4, 5, 6, 2, 4, 5, 0xb4, 3, 3, 7]);
    let tcp_options = prop_oneof![Just(Vec::new()), options, forged];
    (
        (4000..4003u16, any::<bool>(), (any::<u32>(), 0..3u32)),
        (tcp_options, 0..=10usize),
        prop::collection::vec(any::<u8>(), 0..1450),
        0..3u8,
    )
        .prop_map(
            |((cport, syn, numbers), (tcp_options, ip_options), payload, checksum)| Sent {
                cport,
                syn,
                numbers,
                tcp_options,
                ip_options,
                payload,
                checksum,
            },
        )
}

impl Sent {
    fn packet(&self, case: Case) -> PacketBuilder {
        let mut packet = case.family().client_sends().payload(&self.payload);
        if case.v4 {
            packet = packet.options(&vec![1; 4 * self.ip_options]);
        } else if self.ip_options > 5 {
            packet = packet.extension(60, &[0x1e, 3, 1, 2, 3, 0]);
        }
        packet = match case.protocol {
            Protocol::Tcp => {
                let flags = if self.syn {
                    TcpFlags::SYN
                } else {
                    TcpFlags::ACK
                };
                let tcp = packet.tcp(self.cport, 80).flags(flags);
                tcp.numbers(self.numbers.0, self.numbers.1)
                    .tcp_options(&self.tcp_options)
            }
            _ => packet.udp(self.cport, 80),
        };
        match (self.checksum, case.protocol) {
            (0, _) => packet.partial_checksum(),
            (1, Protocol::Udp) => packet.no_checksum(),
            _ => packet,
        }
    }
}

/// Both ends of a frame, and what it carries.
fn content(frame: &[u8]) -> ([Vec<u8>; 2], [u16; 2], Vec<u8>) {
    let parsed = lb_wire::parse(frame).expect("a whole packet");
    let (source, destination) = match parsed.ip {
        IpHeader::V4(ip) => (ip.source.to_vec(), ip.destination.to_vec()),
        IpHeader::V6(ip) => (ip.source.to_vec(), ip.destination.to_vec()),
    };
    let l4 = usize::from(parsed.l4);
    let header = match parsed.protocol {
        6 => usize::from(frame[l4 + 12] >> 4) * 4,
        _ => 8,
    };
    let payload = frame[l4 + header..usize::from(parsed.end)].to_vec();
    let ports = [parsed.source_port, parsed.destination_port];
    ([source, destination], ports, payload)
}

/// The server's echo of a frame: the same between swapped ends, without options.
fn echo(case: Case, frame: &[u8]) -> PacketBuilder {
    let (_, [source, destination], payload) = content(frame);
    let family = case.family();
    let to = if case.mode == "nat" {
        family.cip
    } else {
        family.lip
    };
    let packet = lb_testkit::pkt()
        .ethernet(rip_mac(0), ETH1_MAC)
        .ip((family.rip)(0), to)
        .payload(&payload);
    match case.protocol {
        Protocol::Tcp => packet.tcp(destination, source),
        _ => packet.udp(destination, source),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn checksums_hold_and_the_way_back_undoes_the_way_in(
        case in cases(),
        sent in prop::collection::vec(packets(), 1..6),
    ) {
        let mut lab = case.lab();
        for sent in sent {
            let packet = sent.packet(case);
            lab.inbound(&packet);
            let Some((egress, forwarded)) = lab.port().take_sent() else {
                // Not of a conn, or too large: the kernel's, or told to its sender.
                while lab.port().take_punted().is_some() {}
                continue;
            };
            if egress == ETH0 {
                continue;
            }
            prop_assert!(checksums_hold(&forwarded), "{packet:?} became {forwarded:02x?}");
            prop_assert!(forwarded.len() <= 14 + 1500);
            let (_, _, payload) = content(&forwarded);
            prop_assert!(payload.ends_with(&sent.payload));
            lab.outbound(&echo(case, &forwarded));
            let Some((egress, answered)) = lab.port().take_sent() else {
                prop_assert!(false, "no answer to {forwarded:02x?}");
                continue;
            };
            // Its header may have made the echo too large.
            if egress == ETH1 {
                continue;
            }
            prop_assert!(checksums_hold(&answered), "{answered:02x?}");
            let (asked_ends, asked_ports, _) = content(&packet.bytes());
            let (ends, ports, echoed) = content(&answered);
            prop_assert_eq!([&ends[1], &ends[0]], [&asked_ends[0], &asked_ends[1]]);
            prop_assert_eq!([ports[1], ports[0]], asked_ports);
            prop_assert_eq!(echoed, payload);
        }
    }
}
