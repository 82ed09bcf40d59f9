//! Several workers, and packets that come in on the wrong one: they go out as if there were but one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::lab::*;
use lb::{Counter, Protocol, PuntReason, ServiceConfig};
use lb_testkit::{PacketBuilder, pkt};

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn service(family: Family, mode: &str, protocol: Protocol) -> ServiceConfig {
    let service = match mode {
        "nat" | "fnat" | "enat" => family.service(mode, protocol, 3),
        _ => (0..3).fold(service_at(family.vip, mode, protocol), |service, server| {
            let rip = (family.rip)(server);
            service.with_server(lb::Endpoint::new(rip.into(), 80), 1)
        }),
    };
    match mode {
        "fnat" => service.with_local_address(family.lip.into()),
        _ => service,
    }
}

fn request(family: Family, protocol: Protocol, cport: u16) -> PacketBuilder {
    let packet = family.client_sends().payload(b"request");
    match protocol {
        Protocol::Udp => packet.udp(cport, 80),
        _ => packet.tcp(cport, 80).syn(),
    }
}

/// The answer to a frame that was sent to a server.
fn answer(protocol: Protocol, sent: &Sent) -> PacketBuilder {
    let parsed = lb_wire::parse(&sent.bytes).expect("valid");
    let (source, destination) = match parsed.ip {
        lb_wire::IpHeader::V4(ip) => (IpAddr::from(ip.source), IpAddr::from(ip.destination)),
        lb_wire::IpHeader::V6(ip) => (ip.source.into(), ip.destination.into()),
    };
    let (from, to) = (parsed.destination_port, parsed.source_port);
    let packet = pkt()
        .ethernet(rip_mac(0), ETH1_MAC)
        .ip(destination, source)
        .payload(b"answer");
    match protocol {
        Protocol::Udp => packet.udp(from, to),
        _ => packet.tcp(from, to).syn_ack(),
    }
}

/// Whichever queues a request and its answers come in on, they pass as through one worker.
#[test]
fn replies_find_their_conn_from_every_queue() {
    for family in [V4, V6] {
        for (mode, protocol) in ["nat", "fnat"]
            .iter()
            .flat_map(|m| PROTOCOLS.map(|p| (m, p)))
        {
            let mut queues = Queues::new(3, vec![service(family, mode, protocol)]);
            let mut handed = 0;
            for (cport, (here, there)) in (4000..).zip(pairs(3)) {
                let sent = queues.inbound(here, &request(family, protocol, cport));
                assert_eq!((sent.len(), sent[0].worker), (1, here));
                let reply = answer(protocol, &sent[0]);
                let sent = queues.outbound(there, &reply);
                let expected = family.client_gets().payload(b"answer");
                let expected = match protocol {
                    Protocol::Udp => expected.udp(80, cport),
                    _ => expected.tcp(80, cport).syn_ack(),
                };
                let expected = Sent {
                    worker: here,
                    egress: ETH0,
                    bytes: expected.bytes(),
                };
                assert_eq!(sent, [expected], "{mode} {here} {there}");
                handed += u64::from(here != there);
            }
            assert_eq!(queues.counted_by_all(Counter::HandedOver), handed);
            assert_eq!(queues.counted_by_all(Counter::TakenOver), handed);
        }
    }
}

/// All pairs of so many queues.
fn pairs(queues: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..queues).flat_map(move |here| (0..queues).map(move |there| (here, there)))
}

/// A NIC that is told to hash otherwise, or a sender that changes its queue, brings the packets of one flow to another
/// worker than before.
#[test]
fn a_flow_that_changes_its_queue_stays_with_its_server() {
    for family in [V4, V6] {
        for mode in ["dr", "nat", "fnat", "enat", "tun"] {
            let mut queues = Queues::new(2, vec![service(family, mode, Protocol::Udp)]);
            for cport in 4000..4010 {
                let request = request(family, Protocol::Udp, cport);
                let [first, second] = [0, 1].map(|queue| queues.inbound(queue, &request));
                assert_eq!(without_ids(&first), without_ids(&second), "{mode} {cport}");
                assert_eq!(first.len(), 1);
            }
            let counters = [Counter::ConnOpen, Counter::HandedOver, Counter::Tx];
            let counted = counters.map(|counter| queues.counted_by_all(counter));
            assert_eq!(counted, [10, 10, 20], "{mode}");
        }
    }
}

/// Outer IPv4 headers count their packets.
fn without_ids(sent: &[Sent]) -> Vec<Sent> {
    let mut sent = sent.to_vec();
    for frame in sent.iter_mut().filter(|frame| frame.bytes[12] == 8) {
        frame.bytes[18..20].fill(0);
        frame.bytes[24..26].fill(0);
    }
    sent
}

#[test]
fn what_no_worker_has_a_conn_of_is_treated_where_it_came_in() {
    let mut queues = Queues::new(2, vec![service(V4, "nat", Protocol::Tcp)]);
    let sent = queues.inbound(0, &request(V4, Protocol::Tcp, 4000));
    let reply = answer(Protocol::Tcp, &sent[0]);
    queues.now = queues.now + Duration::from_secs(61);
    assert_eq!(queues.settle(), [], "the conn is over");
    assert_eq!(queues.outbound(1, &reply), []);
    let not_ours = Counter::Punt(PuntReason::NotOurs);
    assert_eq!(
        (queues.counted(1, not_ours), queues.counted(0, not_ours)),
        (1, 0)
    );
    assert_eq!(queues.counted_by_all(Counter::HandedOver), 0);
}

#[test]
fn an_icmp_error_on_another_queue_follows_its_conn() {
    for mode in ["nat", "fnat"] {
        let mut queues = Queues::new(2, vec![service(V4, mode, Protocol::Udp)]);
        let sent = queues.inbound(0, &request(V4, Protocol::Udp, 4000));
        let to_server = lb_wire::parse(&sent[0].bytes).expect("valid");
        let lb_wire::IpHeader::V4(ip) = to_server.ip else {
            panic!("IPv4");
        };
        let quoted = pkt()
            .ipv4(ip.source.into(), ip.destination.into())
            .udp(to_server.source_port, to_server.destination_port)
            .payload(b"request");
        let router = std::net::Ipv4Addr::new(10, 1, 0, 77);
        let error = pkt()
            .ethernet(rip_mac(0), ETH1_MAC)
            .ipv4(router, ip.source.into())
            .icmp_error((3, 1, 0), &quoted, 548);
        let sent = queues.outbound(1, &error);
        assert_eq!(sent.len(), 1, "{mode}");
        assert_eq!((sent[0].worker, sent[0].egress), (0, ETH0), "{mode}");
        let bytes = &sent[0].bytes;
        assert_eq!(bytes[30..34], CIP.octets(), "to the client");
        assert_eq!(
            bytes[14 + 20 + 8 + 16..][..4],
            VIP.octets(),
            "about its packet"
        );
    }
}

/// The fragments of one datagram on different queues, and the datagram on another than its conn's.
#[test]
fn fragments_meet_wherever_they_come_in_and_their_datagram_finds_its_conn() {
    for family in [V4, V6] {
        let mut queues = Queues::new(3, vec![service(family, "nat", Protocol::Udp)]);
        let first = queues.inbound(0, &request(family, Protocol::Udp, 4000));
        assert_eq!(first.len(), 1);
        for id in 0..12 {
            let datagram = family
                .client_sends()
                .id(id, false)
                .udp(4000, 80)
                .payload(&[7; 2000]);
            for (queue, part) in datagram.split(1000).iter().enumerate() {
                queues.client_sends(queue % 3, part);
            }
            let sent = queues.settle();
            let workers: BTreeSet<usize> = sent.iter().map(|frame| frame.worker).collect();
            assert_eq!(workers, BTreeSet::from([0]), "the conn's worker sends them");
            assert_eq!(sent.len(), datagram.split(1000).len());
        }
        assert_eq!(queues.counted_by_all(Counter::ConnOpen), 1);
        let waiting = queues.workers.iter().map(|w| w.waiting_fragments());
        assert_eq!(waiting.sum::<u64>(), 0);
        assert_eq!(queues.engine.counters().waiting(), 0);
    }
}

/// Every reply on the wrong queue, for long: the worker that receives them gets other frames for those that it hands
/// over, and packets stay in order.
#[test]
fn frames_do_not_pile_up_where_the_conns_are_and_packets_stay_in_order() {
    let mut queues = Queues::new(2, vec![service(V4, "nat", Protocol::Udp)]);
    let sent = queues.inbound(0, &request(V4, Protocol::Udp, 4000));
    let reply = answer(Protocol::Udp, &sent[0]);
    let mut expected = 0_u32;
    for _ in 0..100 {
        for number in 0..100 {
            let number = expected + number;
            queues.server_sends(1, &reply.clone().payload(&number.to_be_bytes()));
        }
        for frame in queues.settle() {
            let number = frame.bytes[42..46].try_into().expect("four bytes");
            assert_eq!(u32::from_be_bytes(number), expected);
            expected += 1;
        }
    }
    assert_eq!(expected, 10_000);
    let [a, b] = [0, 1].map(|worker| lb::Port::census(queues.workers[worker].port()).total);
    assert_eq!(a, b, "all is paid when there is nothing else to do");
}
