//! Another configuration, or an edit, while conns live: what changes, what is told of it, and what must not.

use crate::lab::*;
use lb::{
    Change, Config, Endpoint, Engine, Protocol, Refusal, ServerSpec, ServiceConfig, ServiceKey,
    Thresholds,
};
use lb_testkit::{PacketBuilder, pkt};

fn syn(cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(CLIENT_MAC, ETH0_MAC)
        .ipv4(CIP, VIP)
        .tcp(cport, 80)
        .syn()
}

fn ack(cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(CLIENT_MAC, ETH0_MAC)
        .ipv4(CIP, VIP)
        .tcp(cport, 80)
        .payload(b"x")
}

/// The number of the server that a packet of the client goes to.
#[track_caller]
fn server_of(lab: &mut Lab, packet: &PacketBuilder) -> u8 {
    lab.inbound(packet);
    let (_, frame) = lab.port().take_sent().expect("a frame sent");
    let destination: [u8; 6] = frame[..6].try_into().expect("an Ethernet header");
    (0..8)
        .find(|server| rip_mac(*server).0 == destination)
        .expect("a server's MAC")
}

fn web(servers: u8) -> ServiceConfig {
    with_servers(service("nat", Protocol::Tcp), servers, 8080)
}

fn dns() -> ServiceConfig {
    with_servers(service("dr", Protocol::Udp), 2, 80)
}

fn config(lab: &Lab, services: Vec<ServiceConfig>) -> Config {
    let mut config = lab.config.clone();
    config.services = services;
    config
}

fn rip_of(server: u8) -> Endpoint {
    Endpoint::new(rip(server).into(), 8080)
}

#[test]
fn the_difference_tells_what_will_happen_and_happens() {
    let mut lab = Lab::new(vec![web(2), dns()]);
    for cport in [4000, 4001, 4002] {
        server_of(&mut lab, &syn(cport));
    }
    let mut wanted = web(3);
    wanted.servers.remove(0);
    wanted.servers[0].weight = 5;
    wanted.servers[1].thresholds.upper = 9;
    let other = service_at(VIP6.into(), "dr", Protocol::Tcp);
    let mut config = config(&lab, vec![wanted, other.clone()]);
    config.ipvs.sloppy_tcp = true;
    let told = lab.engine.difference(&config).expect("valid");
    assert_eq!(
        told.to_string(),
        "+1 service, -1 service, +1 server, -1 server, 1 weight, [ipvs]"
    );
    let [gone, changed, added] = &told.services[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&gone.change, gone.servers.len()), (&Change::Removed, 2));
    assert_eq!((added.id, &added.change), (other.id, &Change::Added));
    let servers: Vec<(Endpoint, u32)> = changed.servers.iter().map(|s| (s.rip, s.conns)).collect();
    // rr began with the server that was added last.
    assert_eq!(servers, [(rip_of(0), 1), (rip_of(1), 2), (rip_of(2), 0)]);
    assert_eq!(told.conns_lost(), 1);
    assert_eq!(
        lab.engine.config(),
        lab.config,
        "a question changes nothing"
    );

    assert_eq!(lab.engine.apply(&config).as_ref(), Ok(&told));
    assert_eq!(lab.engine.config(), config);
    let again = lab.engine.apply(&config).expect("valid");
    assert_eq!(again.to_string(), "nothing changes");
    assert!(again.is_empty());
}

#[test]
fn conns_and_the_turn_of_servers_survive_what_does_not_concern_them() {
    let mut lab = Lab::new(vec![web(3)]);
    assert_eq!(server_of(&mut lab, &syn(4000)), 2);
    let more = config(&lab, vec![dns(), web(3)]);
    lab.engine.apply(&more).expect("valid");
    assert_eq!(server_of(&mut lab, &syn(4001)), 1, "the next in turn");
    let mut reweighted = web(3);
    reweighted.servers[2].weight = 0;
    let reweighted = config(&lab, vec![reweighted]);
    lab.engine.apply(&reweighted).expect("valid");
    assert_eq!(server_of(&mut lab, &ack(4000)), 2, "quiesced, not lost");
    assert_eq!(server_of(&mut lab, &ack(4001)), 1);
}

#[test]
fn what_takes_a_restart_is_refused_with_all_that_came_with_it() {
    let lab = Lab::new(vec![web(2)]);
    let mut other = config(&lab, vec![web(3)]);
    other.engine.capacity += 1;
    other.engine.interfaces = vec!["eth0".into()];
    let told = lab.engine.difference(&other).expect("valid");
    let refused = lab.engine.apply(&other).expect_err("takes a restart");
    assert_eq!(told.restart, refused);
    let texts: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "engine.interfaces: [\"eth0\"], allowed without a restart: [], which is running",
            "engine.capacity: 1001, allowed without a restart: 1000, which is running",
        ]
    );
    assert_eq!(lab.engine.config(), lab.config);
}

#[test]
fn a_drain_takes_new_conns_away_and_gives_the_weight_back() {
    let mut heavy = web(2);
    heavy.servers[1].weight = 7;
    let mut lab = Lab::new(vec![heavy.clone()]);
    assert_eq!(server_of(&mut lab, &syn(4000)), 1);
    let server = "10.1.0.12".parse().expect("valid");
    let begun = lab.engine.edit(|table| table.drain(&server));
    let begun = begun.expect("a server");
    assert_eq!((begun.len(), begun[0].weight, begun[0].active), (1, 7, 1));
    for cport in [4001, 4002] {
        assert_eq!(server_of(&mut lab, &syn(cport)), 0);
    }
    assert_eq!(server_of(&mut lab, &ack(4000)), 1, "its conn stays");

    heavy.servers[1].weight = 9;
    let reloaded = config(&lab, vec![heavy]);
    let told = lab.engine.apply(&reloaded).expect("valid");
    assert_eq!(told.to_string(), "1 weight");
    assert_eq!(server_of(&mut lab, &syn(4003)), 0, "a reload ends no drain");
    let saved = lab.engine.config();
    assert_eq!(saved.services[0].servers[1].weight, 9);
    assert!(saved.services[0].servers[1].drained);
    assert!(lab.engine.difference(&saved).expect("valid").is_empty());

    let ended = lab.engine.edit(|table| table.undrain(&server));
    assert_eq!(ended.expect("a server")[0].weight, 9);
    let chosen = [4004, 4005].map(|cport| server_of(&mut lab, &syn(cport)));
    assert!(chosen.contains(&1), "{chosen:?}");
    assert!(lab.engine.edit(|table| table.drains()).is_empty());
    let unknown = "10.1.0.99".parse().expect("valid");
    let refused = lab.engine.edit(|table| table.drain(&unknown));
    assert_eq!(refused, Err(Refusal::NoSuchServer));
}

#[test]
fn who_gives_a_weight_ends_the_drain() {
    let lab = Lab::new(vec![web(1)]);
    let server = "10.1.0.11:8080".parse().expect("valid");
    lab.engine.edit(|table| {
        table.drain(&server).expect("a server");
        let spec = ServerSpec {
            rip: rip_of(0),
            mode: "nat".into(),
            weight: 3,
            thresholds: Thresholds::default(),
            tunnel: lb::Tunnel::default(),
        };
        table.edit_server(web(1).id, &spec).expect("a server");
        assert!(table.drains().is_empty());
    });
    assert_eq!(lab.engine.config().services[0].servers[0].weight, 3);
}

#[test]
fn what_was_edited_can_be_had_again() {
    let lab = Lab::new(vec![web(2)]);
    lab.engine.edit(|table| {
        let id = ServiceKey {
            vip: "10.0.0.101:53".parse().expect("valid"),
            protocol: Protocol::Udp,
        }
        .into();
        let spec = lb::ServiceSpec {
            persistence_engine: None,
            id,
            scheduler: "sh".into(),
            scheduler_flags: lb::SchedulerFlags::SECOND,
            persistence: None,
            one_packet: true,
            full_nat: None,
        };
        table.add_service(&spec).expect("new");
        for (rip, mode) in [("10.1.0.11:53", "dr"), ("10.1.0.12:5353", "nat")] {
            let spec = ServerSpec {
                rip: rip.parse().expect("valid"),
                mode: mode.into(),
                weight: 2,
                thresholds: Thresholds { upper: 8, lower: 4 },
                tunnel: lb::Tunnel::default(),
            };
            table.add_server(id, &spec).expect("new");
        }
        table
            .drain(&"10.1.0.12".parse().expect("valid"))
            .expect("a server");
    });
    let saved = lab.engine.config();
    assert_eq!(saved.services.len(), 2);
    assert_eq!(saved.services[1].servers[1].mode.as_deref(), Some("nat"));
    let another = Engine::new(&saved).expect("valid");
    assert_eq!(another.config(), saved);
}

/// What its servers send that is no reply of a conn is answered (`nat_icmp_send`), and what others send is the kernel's.
#[test]
fn a_server_of_two_services_is_known_until_neither_has_it() {
    let services = [80, 443].map(|port| {
        let mut service = web(1);
        service.id = ServiceKey {
            vip: Endpoint::new(VIP.into(), port),
            protocol: Protocol::Tcp,
        }
        .into();
        service
    });
    let ids = services.clone().map(|service| service.id);
    let mut lab = Lab::new(services.to_vec());
    lab.config.ipvs.nat_icmp_send = true;
    lab.engine.apply(&lab.config).expect("valid");
    let from_server = pkt().ethernet(rip_mac(0), ETH1_MAC).ipv4(rip(0), CIP);
    let from_server = from_server.tcp(8080, 4000);
    let known = ["drop.unknown_reply", "icmp.sent", "tx"];
    lab.outbound(&from_server);
    lab.expect_counters(&known);
    let delete = |id| lab.engine.edit(|table| table.delete_service(id));
    delete(ids[0]).expect("there");
    lab.outbound(&from_server);
    lab.expect_counters(&known);
    let to_dr = ServerSpec {
        rip: rip_of(0),
        mode: "dr".into(),
        weight: 1,
        thresholds: Thresholds::default(),
        tunnel: lb::Tunnel::default(),
    };
    let edit = |table: &mut lb::ServiceTable| table.edit_server(ids[1], &to_dr);
    lab.engine.edit(edit).expect("there");
    lab.outbound(&from_server);
    lab.expect_counters(&["punt.not_ours"]);
}
