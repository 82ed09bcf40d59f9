//! Several workers, and packets that come in on the wrong one: they go out as if there were but one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::lab::*;
use lb::{
    Addr, Config, Counter, Endpoint, FlowKey, HashedFields, Persistence, Protocol, PuntReason, Rss,
    ServiceConfig, Time, Worker,
};
use lb_testkit::{MemoryPort, PacketBuilder, pkt};

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn service(family: Family, mode: &str, protocol: Protocol) -> ServiceConfig {
    let service = match mode {
        "nat" | "fnat" | "enat" => family.service(mode, protocol, 3),
        _ => (0..3).fold(service_at(family.vip, mode, protocol), |service, server| {
            let rip = (family.rip)(server);
            service.with_server(Endpoint::new(rip.into(), 80), 1)
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

/// Where a NIC tells how it chooses queues, replies of full NAT come in on their conn's queue by themselves.
#[test]
fn local_ports_are_chosen_so_that_replies_need_no_hand_over() {
    for family in [V4, V6] {
        let redirected = |tells: bool| {
            let key = (0..40_u32).map(|n| (n * 151 + 41) as u8).collect();
            let table = (0..128).map(|n| n % 4).collect();
            let nic = Rss::new(key, table, [HashedFields::Ports; 4]).expect("a possible NIC");
            let config = Config {
                services: vec![service(family, "fnat", Protocol::Udp)],
                ..small()
            };
            let mut queues = Queues::on_nic(4, &config, tells.then(|| nic.clone()));
            for cport in 4000..4200 {
                let request = request(family, Protocol::Udp, cport);
                let sent = queues.inbound(usize::from(cport % 4), &request);
                let reply = answer(Protocol::Udp, &sent[0]);
                let queue = nic.queue(&flow_of(&reply)).expect("it hashes ports");
                assert_eq!(queues.outbound(queue.into(), &reply).len(), 1);
            }
            queues.counted_by_all(Counter::HandedOver)
        };
        assert_eq!(redirected(true), 0);
        let without = redirected(false);
        // Three of four, but a worker's ports are not drawn one by one, and so are not spread as dice would be.
        assert!(without > 50, "{without}");
    }
}

fn flow_of(packet: &PacketBuilder) -> FlowKey {
    let bytes = packet.bytes();
    let parsed = lb_wire::parse(&bytes).expect("valid");
    let (source, destination) = match parsed.ip {
        lb_wire::IpHeader::V4(ip) => (Addr::v4(ip.source), Addr::v4(ip.destination)),
        lb_wire::IpHeader::V6(ip) => (Addr::v6(ip.source), Addr::v6(ip.destination)),
    };
    FlowKey {
        source: Endpoint::new(source, parsed.source_port),
        destination: Endpoint::new(destination, parsed.destination_port),
        protocol: Protocol::Udp,
    }
}

fn small() -> Config {
    let mut config = Config::default();
    config.engine.capacity = 1000;
    config
}

/// A client of a persistent service is led to one server, whatever queues its conns come in on.
#[test]
fn a_client_stays_with_its_server_on_every_queue() {
    let mut service = service(V4, "nat", Protocol::Udp);
    service.persistence = Some(Persistence {
        timeout: Duration::from_secs(300),
        netmask: Addr::v4([255, 255, 255, 0]),
    });
    let mut queues = Queues::new(3, vec![service]);
    let persistent = |queues: &Queues| {
        queues.engine.look(|table| {
            let dests = table.services()[0].dests().iter();
            dests.map(|dest| dest.persistent()).sum::<u32>()
        })
    };
    let server = |sent: &[Sent]| sent[0].bytes[30..34].to_vec();
    let first = server(&queues.inbound(2, &request(V4, Protocol::Udp, 4000)));
    for cport in 4001..4010 {
        let request = request(V4, Protocol::Udp, cport);
        assert_eq!(
            server(&queues.inbound(usize::from(cport % 3), &request)),
            first
        );
    }
    assert_eq!(persistent(&queues), 1, "one client");
    assert_eq!(queues.counted_by_all(Counter::HandedOver), 0);
    queues.now = queues.now + Duration::from_secs(601);
    queues.settle();
    // Templates that were held once live for a minute at a time.
    queues.now = queues.now + Duration::from_secs(61);
    queues.settle();
    assert_eq!(persistent(&queues), 0);
}

/// Caches are to see the same destinations, whichever queues they come in on: of least conns alone, each worker's first conn
/// would go to another server.
#[test]
fn what_is_remembered_of_a_destination_is_so_on_every_queue() {
    for scheduler in ["lblc", "lblcr"] {
        let mut service = service(V4, "nat", Protocol::Udp);
        service.scheduler = scheduler.to_owned();
        let mut queues = Queues::new(3, vec![service]);
        let servers: BTreeSet<Vec<u8>> = (0..12_u16)
            .map(|n| {
                let request = request(V4, Protocol::Udp, 4000 + n);
                queues.inbound(usize::from(n % 3), &request)[0].bytes[30..34].to_vec()
            })
            .collect();
        assert_eq!(servers.len(), 1, "{scheduler}");
    }
}

/// Every worker follows another configuration from its next turn on, and the last one that does ends the old one.
#[test]
fn a_configuration_reaches_each_worker_in_one_turn_and_the_old_one_goes_with_the_last() {
    let with = |lip| {
        let service = V4.service("fnat", Protocol::Udp, 1);
        vec![service.with_local_address(Addr::v4(lip))]
    };
    let mut queues = Queues::new(3, with([10, 1, 0, 2]));
    queues.settle();
    let old = (queues.engine)
        .look(|table| Arc::downgrade(&table.services()[0].settings().local_addresses));
    let config = Config {
        services: with([10, 1, 0, 3]),
        ..small()
    };
    queues.engine.apply(&config).expect("valid");
    for worker in 0..3 {
        assert!(old.upgrade().is_some(), "worker {worker} may still read it");
        let request = request(V4, Protocol::Udp, 4000 + worker as u16);
        queues.client_sends(worker, &request);
        queues.turn(worker);
        let (_, sent) = (queues.workers[worker].port_mut().take_sent()).expect("sent");
        assert_eq!(sent[26..30], [10, 1, 0, 3], "the new address");
    }
    assert!(old.upgrade().is_none());
}

/// Two workers on threads of their own, every reply on the other's queue: nothing is lost on the way, and nothing comes twice.
#[test]
fn workers_on_threads_hand_each_other_all_replies() {
    const REPLIES: u32 = 20_000;
    let mut queues = Queues::new(2, vec![service(V4, "nat", Protocol::Udp)]);
    let replies: Vec<PacketBuilder> = (0..2)
        .map(|worker: u16| {
            let request = request(V4, Protocol::Udp, 4000 + worker);
            let sent = queues.inbound(worker.into(), &request);
            answer(Protocol::Udp, &sent[0])
        })
        .collect();
    let arrived = [const { AtomicU32::new(0) }; 2];
    let work = |own: usize, worker: &mut Worker<MemoryPort>| {
        let (mut received, mut given) = (Vec::new(), 0);
        // None ends while the other may still hand it something.
        while arrived.iter().any(|a| a.load(Ordering::Relaxed) < REPLIES) {
            // No more at a time than wait between two workers, should the other thread stand still.
            let limit = REPLIES.min(arrived[1 - own].load(Ordering::Relaxed) + 512);
            if given < limit {
                // One that finds no free frame is tried again: they come back from the other worker.
                let reply = replies[1 - own].clone().payload(&given.to_be_bytes());
                given += u32::from(worker.port_mut().inject(ETH1, &reply.bytes()));
            }
            worker.turn(Time::ZERO);
            while let Some((_, frame)) = worker.port_mut().take_sent() {
                let number = frame[42..46].try_into().expect("four bytes");
                received.push(u32::from_be_bytes(number));
                arrived[own].fetch_add(1, Ordering::Relaxed);
            }
        }
        received
    };
    let received: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let work = &work;
        let spawn = |(own, worker)| scope.spawn(move || work(own, worker));
        let threads: Vec<_> = queues.workers.iter_mut().enumerate().map(spawn).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|received| received.expect("no panic")).collect()
    });
    for received in received {
        assert_eq!(
            received,
            (0..REPLIES).collect::<Vec<_>>(),
            "each once, in order"
        );
    }
    let handed = queues.counted_by_all(Counter::HandedOver);
    assert_eq!(handed, u64::from(2 * REPLIES));
    assert_eq!(queues.engine.counters().dropped(), 0);
}
