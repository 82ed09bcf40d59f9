//! What a balancer sees of how servers treat their conns.

use crate::lab::*;
use lb::{Conduct, Endpoint, Protocol};
use lb_testkit::{PacketBuilder, pkt};

fn lab(mode: &str, port: u16) -> Lab {
    let service = match mode {
        "fnat" => service(mode, Protocol::Tcp).with_local_address(LIP.into()),
        _ => service(mode, Protocol::Tcp),
    };
    Lab::new(vec![with_servers(service, 1, port)])
}

fn conduct(lab: &Lab, port: u16) -> (u64, u64, u64) {
    let id = lab.config.services[0].id;
    let rip = Endpoint::new(rip(0).into(), port);
    let conduct = lab.engine.look(|table| table.conduct_of_server(id, rip));
    let Conduct {
        answered,
        unanswered,
        resets,
    } = conduct.expect("a server");
    (answered, unanswered, resets)
}

fn client(cport: u16) -> PacketBuilder {
    let packet = pkt().ethernet(CLIENT_MAC, ETH0_MAC).ipv4(CIP, VIP);
    packet.tcp(cport, 80)
}

/// The server's end of what it was sent last.
fn server(lab: &mut Lab) -> PacketBuilder {
    let sent = std::iter::from_fn(|| lab.port().take_sent());
    let (_, bytes) = sent.last().expect("a packet to the server");
    let sent = lb_wire::parse(&bytes).expect("valid");
    let lb_wire::IpHeader::V4(ip) = sent.ip else {
        panic!("IPv4");
    };
    let packet = pkt().ethernet(rip_mac(0), ETH1_MAC);
    let packet = packet.ipv4(ip.destination.into(), ip.source.into());
    packet.tcp(sent.destination_port, sent.source_port)
}

#[test]
fn each_conn_shows_once_whether_its_server_answers_and_each_reset_counts() {
    for mode in ["nat", "fnat"] {
        let mut lab = lab(mode, 8080);
        lab.inbound(&client(4000).syn());
        let well = server(&mut lab);
        assert_eq!(conduct(&lab, 8080), (0, 0, 0), "{mode}: it has time");
        lab.outbound(&well.clone().syn_ack());
        assert_eq!(conduct(&lab, 8080), (1, 0, 0), "{mode}");
        lab.outbound(&well.clone().syn_ack());
        lab.inbound(&client(4000));
        assert_eq!(conduct(&lab, 8080), (1, 0, 0), "{mode}: once");

        lab.inbound(&client(4001).syn());
        lab.inbound(&client(4001).syn());
        assert_eq!(conduct(&lab, 8080), (1, 0, 0), "{mode}: too soon to tell");
        lab.pass_time(1);
        lab.inbound(&client(4001).syn());
        lab.pass_time(2);
        lab.inbound(&client(4001).syn());
        assert_eq!(conduct(&lab, 8080), (1, 1, 0), "{mode}: asked again");

        lab.inbound(&client(4002).syn());
        let refused = server(&mut lab);
        lab.outbound(&refused.rst());
        assert_eq!(conduct(&lab, 8080), (2, 1, 1), "{mode}: refused");
        lab.outbound(&well.rst());
        assert_eq!(conduct(&lab, 8080), (2, 1, 2), "{mode}: broken off");

        lab.inbound(&client(4003).syn());
        lab.pass_time(61);
        lab.turn();
        assert_eq!(conduct(&lab, 8080), (2, 2, 2), "{mode}: never answered");
        // Conns of which that is known already end as well.
        lab.pass_time(1000);
        lab.turn();
        assert_eq!(conduct(&lab, 8080), (2, 2, 2), "{mode}");
    }
}

#[test]
fn nothing_is_said_of_servers_that_answer_past_the_balancer() {
    let mut lab = lab("dr", 80);
    lab.inbound(&client(4000).syn());
    lab.pass_time(1);
    lab.inbound(&client(4000).syn());
    lab.pass_time(100);
    lab.turn();
    assert_eq!(conduct(&lab, 80), (0, 0, 0));
}
