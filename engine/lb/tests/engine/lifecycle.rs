//! How conns begin, end and keep their servers, through the whole engine: what IPVS does, step by step.

use std::time::Duration;

use crate::lab::*;
use lb::{
    Addr, IpvsSettings, Mark, MarkRule, Persistence, Prefix, Protocol, SchedulerFlags, ServerSpec,
    ServiceId, ServiceKey, ServiceSpec, Thresholds, Tunnel,
};
use lb_testkit::{PacketBuilder, pkt};
use lb_wire::TcpFlags;

const WEB: ServiceId = ServiceId::Address(ServiceKey {
    vip: lb::Endpoint::new(Addr::v4([10, 0, 0, 100]), 80),
    protocol: Protocol::Tcp,
});

fn spec(id: ServiceId) -> ServiceSpec {
    ServiceSpec {
        id,
        scheduler: "rr".into(),
        scheduler_flags: SchedulerFlags::default(),
        persistence: None,
        persistence_engine: None,
        one_packet: false,
        full_nat: None,
    }
}

fn server(number: u8, port: u16, weight: u32) -> ServerSpec {
    ServerSpec {
        rip: lb::Endpoint::new(rip(number).into(), port),
        mode: "dr".into(),
        weight,
        thresholds: Thresholds::default(),
        tunnel: Tunnel::default(),
    }
}

/// A service with two servers; round robin begins with server 1.
fn lab(service: &ServiceSpec, port: u16, settings: IpvsSettings) -> Lab {
    let lab = Lab::new(Vec::new());
    let edited = lab.engine.edit(|table| {
        table.set_settings(settings, vec![mark_rule()]);
        table.add_service(service)?;
        table.add_server(service.id, &server(0, port, 1))?;
        table.add_server(service.id, &server(1, port, 1))
    });
    edited.expect("a valid edit");
    lab
}

fn mark_rule() -> MarkRule {
    MarkRule {
        mark: 7,
        destination: Prefix::new(Addr::v4([10, 9, 0, 0]), 16),
        protocol: None,
        ports: None,
    }
}

fn tcp(cport: u16) -> PacketBuilder {
    pkt().ipv4(CIP, VIP).tcp(cport, 80)
}

/// Sends a packet and says to which server it went.
fn sent_to(lab: &mut Lab, packet: &PacketBuilder) -> Option<u8> {
    lab.inbound(packet);
    let (egress, frame) = lab.port().take_sent()?;
    // To the other side is an answer to the client.
    (egress == ETH1).then(|| frame[5] - 11)
}

fn close(lab: &mut Lab, cport: u16) {
    for flags in [TcpFlags::ACK, TcpFlags::RST] {
        lab.inbound(&tcp(cport).flags(flags));
        lab.port().take_sent().expect("an established conn");
    }
}

#[test]
fn a_syn_on_a_closed_conn_is_scheduled_anew_unless_conn_reuse_mode_says_otherwise() {
    for (conn_reuse_mode, expected) in [(1, 0), (0, 1)] {
        let settings = IpvsSettings {
            conn_reuse_mode,
            ..IpvsSettings::default()
        };
        let mut lab = lab(&spec(WEB), 80, settings);
        assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), Some(1));
        close(&mut lab, 4000);
        assert_eq!(
            sent_to(&mut lab, &tcp(4000).syn()),
            Some(expected),
            "mode {conn_reuse_mode}"
        );
        assert_eq!(lab.worker().conns().len(), 1);
    }
}

#[test]
fn two_syns_of_one_batch_on_a_closed_conn_open_one_conn() {
    let mut lab = lab(&spec(WEB), 80, IpvsSettings::default());
    assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), Some(1));
    close(&mut lab, 4000);
    lab.client_sends(&tcp(4000).syn());
    lab.client_sends(&tcp(4000).syn());
    lab.turn();
    for _ in 0..2 {
        assert_eq!(
            lab.port().take_sent().map(|(_, frame)| frame[5] - 11),
            Some(0)
        );
    }
    assert_eq!(lab.worker().conns().len(), 1);
}

#[test]
fn packets_of_a_removed_servers_conn_are_dropped_until_it_comes_back() {
    let mut lab = lab(&spec(WEB), 80, IpvsSettings::default());
    assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), Some(1));
    lab.engine
        .edit(|table| table.delete_server(WEB, server(1, 80, 1).rip))
        .expect("removed");
    assert_eq!(sent_to(&mut lab, &tcp(4000)), None);
    lab.expect_counters(&["conn.open", "tx", "drop.dest_gone"]);
    assert_eq!(sent_to(&mut lab, &tcp(4001).syn()), Some(0));

    lab.engine
        .edit(|table| table.add_server(WEB, &server(1, 80, 1)))
        .expect("added again");
    assert_eq!(sent_to(&mut lab, &tcp(4000)), Some(1));
    let counts: Vec<(u32, u32)> = lab.engine.edit(|table| {
        table.services()[0]
            .dests()
            .iter()
            .map(|dest| (dest.active(), dest.inactive()))
            .collect()
    });
    assert_eq!(counts, [(1, 0), (1, 0)], "it took up its conn");
}

#[test]
fn conns_of_a_removed_server_end_at_once_if_asked_for() {
    let settings = IpvsSettings {
        expire_nodest_conn: true,
        ..IpvsSettings::default()
    };
    let mut lab = lab(&spec(WEB), 80, settings);
    assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), Some(1));
    lab.engine
        .edit(|table| table.delete_server(WEB, server(1, 80, 1).rip))
        .expect("removed");
    lab.inbound(&tcp(4000));
    lab.expect_punted(ETH0, &tcp(4000));
    assert_eq!(lab.worker().conns().len(), 0);
}

#[test]
fn a_client_network_stays_with_its_server_as_long_as_its_template_lives() {
    let mut persistent = spec(WEB);
    persistent.persistence = Some(Persistence {
        timeout: Duration::from_secs(300),
        netmask: Addr::v4([255, 255, 255, 0]),
    });
    let mut lab = lab(&persistent, 80, IpvsSettings::default());
    assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), Some(1));
    close(&mut lab, 4000);
    lab.pass_time(200);
    let neighbour = std::net::Ipv4Addr::new(192, 0, 2, 77);
    assert_eq!(
        sent_to(&mut lab, &tcp(4000).ipv4(neighbour, VIP).syn()),
        Some(1)
    );
    lab.inbound(&tcp(4000).ipv4(neighbour, VIP).flags(TcpFlags::ACK));
    lab.inbound(&tcp(4000).ipv4(neighbour, VIP).flags(TcpFlags::RST));
    while lab.port().take_sent().is_some() {}
    lab.pass_time(301);
    assert_eq!(
        sent_to(&mut lab, &tcp(4001).syn()),
        Some(0),
        "the template is gone"
    );
}

#[test]
fn a_template_to_a_quiesced_server_holds_unless_expire_quiescent_template() {
    for (expire_quiescent_template, expected) in [(false, 1), (true, 0)] {
        let mut persistent = spec(WEB);
        persistent.persistence = Some(Persistence {
            timeout: Duration::from_secs(300),
            netmask: Addr::v4([255; 4]),
        });
        let settings = IpvsSettings {
            expire_quiescent_template,
            ..IpvsSettings::default()
        };
        let mut lab = lab(&persistent, 80, settings);
        assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), Some(1));
        lab.engine
            .edit(|table| table.edit_server(WEB, &server(1, 80, 0)))
            .expect("quiesced");
        assert_eq!(sent_to(&mut lab, &tcp(4001).syn()), Some(expected));
    }
}

#[test]
fn a_service_of_every_port_takes_what_has_no_service_of_its_own() {
    let any = ServiceId::Address(ServiceKey {
        vip: lb::Endpoint::new(VIP.into(), 0),
        protocol: Protocol::Tcp,
    });
    let mut persistent = spec(any);
    persistent.persistence = Some(Persistence {
        timeout: Duration::from_secs(300),
        netmask: Addr::v4([255; 4]),
    });
    let mut lab = lab(&persistent, 0, IpvsSettings::default());
    assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), Some(1));
    assert_eq!(
        sent_to(&mut lab, &tcp(4001).tcp(4001, 443).syn()),
        Some(1),
        "one template for all ports"
    );
    let own = spec(WEB);
    lab.engine
        .edit(|table| table.add_service(&own))
        .expect("added");
    assert_eq!(
        sent_to(&mut lab, &tcp(4002).syn()),
        None,
        "port 80 has a service without servers now"
    );
}

#[test]
fn a_service_by_mark_takes_all_that_its_rule_names() {
    let id = ServiceId::Mark(Mark { mark: 7, v6: false });
    let mut lab = lab(&spec(id), 0, IpvsSettings::default());
    let to = |host, port| {
        pkt()
            .ipv4(CIP, std::net::Ipv4Addr::new(10, 9, 0, host))
            .tcp(4000, port)
            .syn()
    };
    assert_eq!(sent_to(&mut lab, &to(1, 80)), Some(1));
    assert_eq!(sent_to(&mut lab, &to(2, 443)), Some(0));
    assert_eq!(sent_to(&mut lab, &tcp(4000).syn()), None);
}

#[test]
fn each_datagram_of_a_one_packet_service_is_scheduled_for_itself() {
    let id = ServiceId::Address(ServiceKey {
        vip: lb::Endpoint::new(VIP.into(), 80),
        protocol: Protocol::Udp,
    });
    let mut one_packet = spec(id);
    one_packet.one_packet = true;
    let mut lab = lab(&one_packet, 80, IpvsSettings::default());
    let ask = pkt().ipv4(CIP, VIP).udp(4000, 80);
    let servers: Vec<_> = (0..4).map(|_| sent_to(&mut lab, &ask)).collect();
    assert_eq!(servers, [Some(1), Some(0), Some(1), Some(0)]);
    lab.turn();
    assert!(lab.worker().conns().is_empty());
}

#[test]
fn an_overloaded_server_gets_no_more_conns() {
    let mut lab = lab(&spec(WEB), 80, IpvsSettings::default());
    let limited = ServerSpec {
        thresholds: Thresholds { upper: 1, lower: 0 },
        ..server(1, 80, 1)
    };
    lab.engine
        .edit(|table| table.edit_server(WEB, &limited))
        .expect("edited");
    let servers: Vec<_> = (4000..4003)
        .map(|cport| sent_to(&mut lab, &tcp(cport).syn()))
        .collect();
    assert_eq!(servers, [Some(1), Some(0), Some(0)]);
}

#[test]
fn sloppy_tcp_opens_conns_for_segments_that_are_no_syn() {
    let settings = IpvsSettings {
        sloppy_tcp: true,
        ..IpvsSettings::default()
    };
    let mut lab = lab(&spec(WEB), 80, settings);
    assert_eq!(sent_to(&mut lab, &tcp(4000)), Some(1));
    assert_eq!(sent_to(&mut lab, &tcp(4001).rst()), None);
}

#[test]
fn a_server_of_the_other_family_is_refused_where_the_mode_cannot_carry_it() {
    let lab = lab(&spec(WEB), 80, IpvsSettings::default());
    let mut other = server(2, 80, 1);
    other.rip.addr = Addr::v6([0x20; 16]);
    assert_eq!(
        lab.engine.edit(|table| table.add_server(WEB, &other)),
        Err(lb::Refusal::OtherFamily)
    );
    other.mode = "tun".into();
    assert_eq!(
        lab.engine.edit(|table| table.add_server(WEB, &other)),
        Ok(())
    );
}
