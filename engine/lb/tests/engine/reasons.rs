//! Every reason for which a packet is not forwarded, provoked; and packets that wait.

use crate::lab::*;
use lb::{
    Addr, Config, Counter, DropReason, Endpoint, Interface, NextHops, Prefix, Protocol, PuntReason,
    Registry, ServiceKey,
};
use lb_testkit::{PacketBuilder, pkt};
use lb_wire::TcpFlags;

fn tcp_lab() -> Lab {
    Lab::new(vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)])
}

fn syn(cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(CLIENT_MAC, ETH0_MAC)
        .ipv4(CIP, VIP)
        .tcp(cport, 80)
        .syn()
}

fn forwarded(cport: u16) -> PacketBuilder {
    syn(cport)
        .ethernet(ETH1_MAC, rip_mac(0))
        .ipv4(CIP, rip(0))
        .tcp(cport, 8080)
        .ttl(63)
}

/// What a client is told about a packet: an ICMP error of this kind and code.
fn told(error: (u8, u8, u32), packet: &PacketBuilder) -> PacketBuilder {
    let to_client = pkt().ethernet(ETH0_MAC, CLIENT_MAC).ipv4(VIP, CIP);
    // All of it no longer than 576 bytes.
    to_client
        .tos(0xc0)
        .id(0, false)
        .icmp_error(error, packet, 548)
}

#[test]
fn malformed() {
    let mut lab = tcp_lab();
    let mut frame = syn(4000).bytes();
    frame.truncate(40);
    assert!(lab.port().inject(ETH0, &frame));
    lab.turn();
    lab.expect_nothing_sent();
    lab.expect_counters(&["drop.malformed"]);
}

#[test]
fn no_dest() {
    let mut quiesced = with_servers(service("nat", Protocol::Tcp), 1, 8080);
    quiesced.servers[0].weight = 0;
    for service in [service("nat", Protocol::Tcp), quiesced] {
        let mut lab = Lab::new(vec![service]);
        lab.inbound(&syn(4000));
        lab.expect_tx(ETH0, &told((3, 3, 0), &syn(4000)));
        lab.expect_nothing_sent();
        lab.expect_counters(&["drop.no_dest", "icmp.sent", "tx"]);
    }
}

#[test]
fn dest_gone() {
    let mut lab = tcp_lab();
    lab.inbound(&syn(4000));
    lab.expect_tx(ETH1, &forwarded(4000));
    let mut without = lab.config.clone();
    without.services[0].servers.clear();
    lab.engine.apply(&without).expect("valid");
    lab.inbound(&syn(4000));
    lab.expect_nothing_sent();
    lab.expect_counters(&["conn.open", "tx", "drop.dest_gone"]);
}

#[test]
fn table_full() {
    let services = vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)];
    let mut lab = Lab::with(services, Registry::builtin(), 2);
    let ack = |cport| syn(cport).flags(TcpFlags::ACK);
    for cport in [4000, 4001] {
        lab.inbound(&syn(cport));
        lab.inbound(&ack(cport));
        lab.expect_counters(&["conn.open", "tx", "tx"]);
    }
    lab.inbound(&syn(4002));
    lab.expect_counters(&["drop.table_full"]);
    lab.inbound(&ack(4000));
    lab.expect_counters(&["tx"]);
}

#[test]
fn a_flood_of_syns_ends_its_own_conns_and_no_established_one() {
    let services = vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)];
    let mut lab = Lab::with(services, Registry::builtin(), 2);
    lab.inbound(&syn(4000));
    lab.inbound(&syn(4000).flags(TcpFlags::ACK));
    lab.inbound(&syn(5000));
    lab.expect_counters(&["conn.open", "tx", "tx", "conn.open", "tx"]);
    for cport in 5001..5100 {
        lab.inbound(&syn(cport));
        lab.expect_counters(&["conn.open", "conn.evict", "tx"]);
    }
    lab.inbound(&syn(4000).flags(TcpFlags::ACK));
    lab.expect_counters(&["tx"]);
}

#[test]
fn reply_tuple_taken() {
    let mut other = with_servers(service("nat", Protocol::Tcp), 1, 8080);
    other.id = ServiceKey {
        vip: "10.0.0.100:81".parse().expect("valid"),
        protocol: Protocol::Tcp,
    }
    .into();
    let mut lab = Lab::new(vec![
        with_servers(service("nat", Protocol::Tcp), 1, 8080),
        other,
    ]);
    lab.inbound(&syn(4000));
    lab.inbound(&syn(4000).tcp(4000, 81));
    lab.expect_tx(ETH1, &forwarded(4000));
    lab.expect_nothing_sent();
    lab.expect_counters(&["conn.open", "tx", "drop.reply_tuple_taken"]);
    // In one batch, and in both of a flow's packets.
    let at_81 = syn(4001).tcp(4001, 81);
    for packet in [&syn(4001), &at_81, &at_81, &syn(4001)] {
        lab.client_sends(packet);
    }
    lab.turn();
    lab.expect_tx(ETH1, &forwarded(4001));
    lab.expect_tx(ETH1, &forwarded(4001));
    lab.expect_nothing_sent();
    let taken = "drop.reply_tuple_taken";
    lab.expect_counters(&["conn.open", "tx", "tx", taken, taken]);
    assert_eq!(lab.worker().conns().len(), 2);
}

#[test]
fn no_local_port() {
    let mut service = with_servers(service("fnat", Protocol::Tcp), 1, 8080);
    service.local_addresses = vec![LIP.into()];
    let mut config = Config::default().with_service(service);
    config.engine.local_ports = 1024..=1025;
    let mut lab = Lab::with_config(config, Registry::builtin());
    for cport in [4000, 4001, 4002] {
        lab.inbound(&syn(cport));
    }
    lab.expect_counters(&["conn.open", "tx", "conn.open", "tx", "drop.no_local_port"]);
    // Conns that have a port keep it.
    lab.inbound(&syn(4001));
    lab.expect_counters(&["tx"]);
    // The server answers nobody, the conns end, and what they had is free again.
    lab.pass_time(61);
    lab.inbound(&syn(4002));
    lab.expect_counters(&["conn.expire", "conn.expire", "conn.open", "tx"]);
}

#[test]
fn ttl_exceeded() {
    let mut lab = tcp_lab();
    for ttl in [1, 0] {
        lab.inbound(&syn(4000).ttl(ttl));
        lab.expect_tx(ETH0, &told((11, 0, 0), &syn(4000).ttl(ttl)));
    }
    lab.expect_nothing_sent();
    let mut moved = ["drop.ttl_exceeded", "icmp.sent", "tx"].repeat(2);
    moved.push("conn.open");
    lab.expect_counters(&moved);
    lab.inbound(&syn(4000).ttl(2));
    lab.expect_tx(ETH1, &forwarded(4000).ttl(1));
    lab.expect_counters(&["tx"]);
}

#[test]
fn no_route() {
    let mut lab = tcp_lab();
    lab.engine.set_next_hops(NextHops::default());
    lab.inbound(&syn(4000));
    lab.expect_nothing_sent();
    lab.expect_counters(&["conn.open", "drop.no_route"]);
}

/// Lab's next hops without the server's MAC.
fn server_unresolved() -> NextHops {
    let mut hops = Lab::next_hops();
    hops.remove_neighbour(ETH1, rip(0).into());
    hops
}

#[test]
fn packets_wait_for_a_mac_and_leave_in_order_before_later_ones() {
    let mut lab = tcp_lab();
    lab.engine.set_next_hops(server_unresolved());
    lab.inbound(&syn(4000));
    lab.inbound(&syn(4001));
    lab.expect_nothing_sent();
    lab.expect_counters(&["conn.open", "held", "conn.open", "held"]);
    lab.engine.set_next_hops(Lab::next_hops());
    lab.inbound(&syn(4002));
    for cport in [4000, 4001, 4002] {
        lab.expect_tx(ETH1, &forwarded(cport));
    }
    lab.expect_counters(&["tx", "tx", "tx", "conn.open"]);
}

#[test]
fn no_source() {
    let mut tunnel = service("tun", Protocol::Tcp);
    tunnel = tunnel.with_server(Endpoint::new(rip(0).into(), 80), 1);
    let mut lab = Lab::new(vec![tunnel]);
    let mut unnumbered: Vec<Interface> = Lab::next_hops().interfaces().to_vec();
    unnumbered[1].addresses.retain(|addr| !addr.is_v4());
    let mut hops = NextHops::new(unnumbered);
    hops.set_route(Prefix::new(rip(0).into(), 24), Some(ETH1), None);
    lab.engine.set_next_hops(hops);
    lab.inbound(&syn(4000));
    lab.expect_counters(&["conn.open", "drop.no_source"]);
    lab.engine.set_next_hops(NextHops::default());
    lab.inbound(&syn(4000));
    lab.expect_counters(&["drop.no_route"]);
    lab.expect_nothing_sent();
}

#[test]
fn too_big() {
    let mut lab = tcp_lab();
    let full = |payload: usize| syn(4000).payload(&vec![0; payload]);
    lab.inbound(&full(1460));
    lab.expect_tx(ETH1, &forwarded(4000).payload(&[0; 1460]));
    lab.inbound(&full(1461));
    // IPVS counts the hop before it looks at the size.
    lab.expect_tx(ETH0, &told((3, 4, 1500), &full(1461).ttl(63)));
    lab.expect_nothing_sent();
    lab.expect_counters(&["conn.open", "tx", "drop.too_big", "icmp.sent", "tx"]);
}

#[test]
fn bad_option() {
    let mut lab = tcp_lab();
    let odd = syn(4000).options(&[1, 7, 0, 0]);
    lab.inbound(&odd);
    lab.expect_tx(ETH0, &told((12, 0, 21 << 24), &odd));
    lab.expect_nothing_sent();
    lab.expect_counters(&["drop.bad_option", "icmp.sent", "tx"]);
    let not_ours = odd.tcp(4000, 22);
    lab.inbound(&not_ours);
    lab.expect_punted(ETH0, &not_ours);
    lab.expect_counters(&["punt.not_ours"]);
}

#[test]
fn source_route() {
    let mut lab = tcp_lab();
    for kind in [131, 137] {
        lab.inbound(&syn(4000).options(&[kind, 7, 4, 10, 1, 0, 12, 0]));
        lab.expect_counters(&["drop.source_route"]);
    }
    lab.expect_nothing_sent();
}

#[test]
fn unknown_reply() {
    let mut lab = tcp_lab();
    lab.config.ipvs.nat_icmp_send = true;
    lab.engine.apply(&lab.config).expect("valid");
    let from = |port| {
        let from_server = pkt().ethernet(rip_mac(0), ETH1_MAC).ipv4(rip(0), CIP);
        from_server.tcp(port, 4000)
    };
    lab.outbound(&from(8080));
    let answer = pkt().ethernet(ETH1_MAC, rip_mac(0)).ipv4(DIP, rip(0));
    let quoted = from(8080).ttl(63);
    let answer = answer.tos(0xc0).id(0, false);
    lab.expect_tx(ETH1, &answer.icmp_error((3, 3, 0), &quoted, 548));
    lab.expect_counters(&["drop.unknown_reply", "icmp.sent", "tx"]);
    for other in [from(22), from(8080).rst()] {
        lab.outbound(&other);
        lab.expect_punted(ETH1, &other);
        lab.expect_counters(&["punt.not_ours"]);
    }
}

#[test]
fn errors_are_limited_and_counted_and_never_answer_errors() {
    let mut lab = tcp_lab();
    lab.config.ipvs.icmp_msgs_burst = 2;
    lab.config.ipvs.icmp_msgs_per_sec = 1;
    lab.engine.apply(&lab.config).expect("valid");
    for _ in 0..3 {
        lab.inbound(&syn(4000).ttl(1));
    }
    let mut moved = vec!["conn.open", "icmp.limited"];
    moved.extend(["drop.ttl_exceeded"].repeat(3));
    moved.extend(["icmp.sent", "tx"].repeat(2));
    lab.expect_counters(&moved);
    lab.pass_time(1);
    // To many, and from nobody: nobody is told.
    for source in ["224.0.0.1", "0.0.0.0", "127.0.0.1"] {
        let source = source.parse().expect("valid");
        lab.inbound(&syn(4000).ipv4(source, VIP).ttl(1));
        lab.expect_counters(&["conn.open", "drop.ttl_exceeded"]);
    }
    let reply = pkt().ipv4(VIP, CIP).tcp(80, 4000).syn_ack();
    let error = pkt().ipv4(CIP, VIP).ttl(1);
    lab.inbound(&error.icmp_error((3, 3, 0), &reply, 28));
    lab.expect_counters(&["drop.ttl_exceeded"]);
}

#[test]
fn neighbour_unresolved() {
    let mut lab = tcp_lab();
    lab.engine.set_next_hops(server_unresolved());
    lab.inbound(&syn(4000));
    lab.pass_time(2);
    lab.turn();
    lab.expect_counters(&["conn.open", "held"]);
    lab.pass_time(1);
    lab.turn();
    lab.expect_nothing_sent();
    lab.expect_counters(&["drop.neighbour_unresolved"]);
}

#[test]
fn neighbour_queue_full() {
    let mut lab = tcp_lab();
    lab.engine.set_next_hops(server_unresolved());
    for cport in 4000..4065 {
        lab.inbound(&syn(cport));
    }
    let mut moved = vec!["drop.neighbour_queue_full"];
    moved.extend(["conn.open"].repeat(65));
    moved.extend(["held"].repeat(64));
    lab.expect_counters(&moved);
}

#[test]
fn tx_ring_full() {
    let mut lab = tcp_lab();
    lab.port().set_transmit_room(1);
    lab.client_sends(&syn(4000));
    lab.client_sends(&syn(4001));
    lab.turn();
    lab.expect_tx(ETH1, &forwarded(4000));
    lab.expect_nothing_sent();
    lab.expect_counters(&["conn.open", "conn.open", "tx", "drop.tx_ring_full"]);
}

#[test]
fn punt_failed() {
    let mut lab = tcp_lab();
    lab.port().set_kernel_takes(false);
    lab.inbound(&syn(4000).tcp(4000, 22));
    lab.expect_nothing_sent();
    lab.expect_counters(&["drop.punt_failed"]);
}

#[test]
fn not_balanced() {
    let mut lab = tcp_lab();
    let mut arp = syn(4000).bytes();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert!(lab.port().inject(ETH0, &arp));
    lab.turn();
    assert_eq!(lab.port().take_punted(), Some((ETH0, arp)));
    lab.expect_counters(&["punt.not_balanced"]);
}

#[test]
fn fragment() {
    let mut lab = tcp_lab();
    let echo = pkt().ipv6(CIP6, VIP6).icmp_error((128, 0, 0), &pkt(), 8);
    let packet = echo.fragment(0, true);
    lab.inbound(&packet);
    lab.expect_punted(ETH0, &packet);
    lab.expect_counters(&["punt.fragment"]);
}

/// A UDP service and a datagram for it.
fn datagram_lab(mode: &str) -> (Lab, PacketBuilder) {
    let lab = Lab::new(vec![with_servers(service(mode, Protocol::Udp), 1, 80)]);
    let packet = pkt().ipv4(CIP, VIP).id(7, false).udp(4000, 80);
    (lab, packet.payload(&[0; 1472]))
}

#[test]
fn fragment_incomplete() {
    let (mut lab, datagram) = datagram_lab("nat");
    lab.inbound(&datagram.split(1000)[1]);
    lab.pass_time(29);
    lab.turn();
    lab.expect_counters(&[]);
    lab.pass_time(1);
    lab.turn();
    lab.expect_counters(&["drop.fragment_incomplete"]);
    lab.expect_nothing_sent();
}

#[test]
fn fragment_overlap() {
    let (mut lab, datagram) = datagram_lab("nat");
    let (here, there) = (datagram.clone().split(1000), datagram.split(992));
    for part in [&here[0], &here[0]] {
        lab.inbound(part);
    }
    // The second was the first again, and the first still waits.
    lab.expect_counters(&["drop.fragment_overlap"]);
    lab.inbound(&there[1]);
    lab.expect_counters(&["drop.fragment_overlap", "drop.fragment_incomplete"]);
    lab.expect_nothing_sent();
    assert_eq!(lab.worker().waiting_fragments(), 0);
}

#[test]
fn owner_busy() {
    let mut queues = Queues::new(
        2,
        vec![with_servers(service("nat", Protocol::Tcp), 1, 8080)],
    );
    queues.inbound(0, &syn(4000));
    let reply = V4
        .server_sends(0)
        .ipv4(rip(0), CIP)
        .tcp(8080, 4000)
        .syn_ack();
    for _ in 0..1025 {
        queues.server_sends(1, &reply);
    }
    // The owner takes no turn meanwhile.
    while queues.turn(1) > 0 {}
    let busy = Counter::Drop(DropReason::OwnerBusy);
    let counted =
        |queues: &Queues| [Counter::HandedOver, busy].map(|counter| queues.counted(1, counter));
    assert_eq!(counted(&queues), [1024, 1]);
    assert_eq!(queues.settle().len(), 1024);
    queues.outbound(1, &reply);
    assert_eq!(counted(&queues), [1025, 1]);
    let handed = queues.engine.hand_overs();
    let of = |from| {
        handed
            .iter()
            .find(|pair| pair.from() == from)
            .expect("a pair")
    };
    assert_eq!((of(1).packets(), of(1).most_waiting()), (1025, 1024));
    assert_eq!((of(0).packets(), of(0).most_waiting()), (0, 0));
}

#[test]
fn no_frame() {
    let (mut lab, datagram) = datagram_lab("tun");
    lab.client_sends(&datagram);
    let small = datagram.payload(b"small").bytes();
    while lab.port().inject(ETH0, &small) {}
    lab.turn();
    let mut moved = vec!["conn.open", "drop.no_frame"];
    moved.extend(["tx"; 63]);
    lab.expect_counters(&moved);
}

#[test]
fn not_ours() {
    let mut lab = tcp_lab();
    let ssh = syn(4000).tcp(4000, 22);
    lab.inbound(&ssh);
    lab.expect_punted(ETH0, &ssh);
    let stranger = pkt().ipv4(rip(0), CIP).tcp(8080, 4000);
    lab.outbound(&stranger);
    lab.expect_punted(ETH1, &stranger);
    lab.expect_counters(&["punt.not_ours", "punt.not_ours"]);
    lab.inbound(&ssh.clone().partial_checksum());
    lab.expect_punted(ETH0, &ssh);
    lab.expect_counters(&["punt.not_ours"]);
}

#[test]
fn no_conn() {
    let mut lab = tcp_lab();
    for packet in [
        syn(4000).flags(TcpFlags::ACK),
        syn(4000).rst(),
        syn(4000).flags(TcpFlags(0x06)),
    ] {
        lab.inbound(&packet);
        lab.expect_punted(ETH0, &packet);
    }
    lab.expect_counters(&["punt.no_conn", "punt.no_conn", "punt.no_conn"]);
    lab.inbound(&syn(4000).syn_ack());
    lab.expect_tx(ETH1, &forwarded(4000).syn_ack());
    lab.expect_counters(&["tx", "conn.open"]);
}

#[test]
fn own_server() {
    for (mode, counter) in [("dr", "punt.own_server"), ("nat", "drop.no_route")] {
        let mut lab = Lab::new(vec![with_servers(service(mode, Protocol::Tcp), 1, 80)]);
        let mut hops = Lab::next_hops();
        let here = Addr::from(rip(0));
        hops.set_route(Prefix::new(here, 32), None, None);
        hops.set_local(here);
        lab.engine.set_next_hops(hops);
        lab.inbound(&syn(4000));
        lab.expect_counters(&["conn.open", counter]);
        if mode == "dr" {
            lab.expect_punted(ETH0, &syn(4000).ttl(63));
        }
    }
}

/// A reason that nobody can provoke is not a reason; this file has a test of the name of each.
#[test]
fn every_reason_has_its_test_here() {
    let text = include_str!("reasons.rs");
    let drops = DropReason::ALL.iter().map(|reason| reason.name());
    let punts = PuntReason::ALL.iter().map(|reason| reason.name());
    for name in drops.chain(punts) {
        assert!(
            text.contains(&format!("#[test]\nfn {name}() {{")),
            "no test provokes {name}"
        );
    }
}

#[test]
fn a_gateway_stands_for_the_servers_behind_it() {
    let mut lab = tcp_lab();
    let mut hops = server_unresolved();
    let gateway = Addr::v4([10, 1, 0, 254]);
    hops.set_route(Prefix::new(rip(0).into(), 32), Some(ETH1), Some(gateway));
    hops.set_neighbour(ETH1, gateway, rip_mac(200));
    lab.engine.set_next_hops(hops);
    lab.inbound(&syn(4000));
    lab.expect_tx(ETH1, &forwarded(4000).ethernet(ETH1_MAC, rip_mac(200)));
}
