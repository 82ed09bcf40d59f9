//! Servers that somebody watches over: how far they take part, and the weights that they have afterwards.

use crate::lab::*;
use lb::{
    Config, Endpoint, Engine, Limit, Protocol, ServerSpec, ServiceConfig, ServiceTable, Thresholds,
};
use lb_testkit::{PacketBuilder, pkt};

fn web(servers: u8, weight: u32) -> ServiceConfig {
    let mut web = with_servers(service("nat", Protocol::Tcp), servers, 8080);
    web.servers
        .iter_mut()
        .for_each(|server| server.weight = weight);
    web
}

fn rip_of(server: u8) -> Endpoint {
    Endpoint::new(rip(server).into(), 8080)
}

fn spec(rip: Endpoint, weight: u32) -> ServerSpec {
    ServerSpec {
        rip,
        mode: "nat".into(),
        weight,
        thresholds: Thresholds::default(),
        tunnel: lb::Tunnel::default(),
    }
}

/// The weights that schedulers see, the server that was added last first.
fn weights(table: &ServiceTable) -> Vec<(Endpoint, u32)> {
    let dests = table.services()[0].dests().iter();
    dests.map(|dest| (dest.rip(), dest.weight())).collect()
}

fn to_service(cport: u16) -> PacketBuilder {
    pkt()
        .ethernet(CLIENT_MAC, ETH0_MAC)
        .ipv4(CIP, VIP)
        .tcp(cport, 80)
}

/// The number of the server that a packet goes to, if it goes anywhere.
fn server_of(lab: &mut Lab, packet: &PacketBuilder) -> Option<u8> {
    lab.inbound(packet);
    let (_, frame) = lab.port().take_sent()?;
    (0..8).find(|server| rip_mac(*server).0 == frame[..6])
}

/// What an administrator or a file may do while a server is limited, and the weight that it has afterwards.
#[test]
fn a_server_has_the_weight_again_that_it_was_given_last() {
    type Step = fn(&Lab);
    let id = |lab: &Lab| lab.config.services[0].id;
    let cases: &[(&str, Step, u32)] = &[
        ("nothing", |_| (), 10),
        (
            "an edit",
            |lab| {
                let id = lab.config.services[0].id;
                let edited = |table: &mut ServiceTable| table.edit_server(id, &spec(rip_of(0), 7));
                lab.engine.edit(edited).expect("a server");
            },
            7,
        ),
        (
            "a reload that changes nothing",
            |lab| {
                let told = lab.engine.apply(&lab.config).expect("valid");
                assert!(told.is_empty(), "{told}");
            },
            10,
        ),
        (
            "a reload with another weight",
            |lab| {
                let other = Config {
                    services: vec![web(2, 30)],
                    ..lab.config.clone()
                };
                lab.engine.apply(&other).expect("valid");
            },
            30,
        ),
        (
            "a drain that begins and ends",
            |lab| {
                let server = rip_of(0).to_string().parse().expect("valid");
                lab.engine.edit(|table| table.drain(&server)).expect("one");
                lab.engine
                    .edit(|table| table.undrain(&server))
                    .expect("one");
            },
            10,
        ),
    ];
    for limit in [Limit::Quiesced, Limit::Out, Limit::Share { part: 1, of: 2 }] {
        for (what, step, weight) in cases {
            let lab = Lab::new(vec![web(2, 10)]);
            let id = id(&lab);
            let set = |limit| {
                lab.engine
                    .edit(|table| table.limit_server(id, rip_of(0), limit))
            };
            set(limit).expect("a server");
            let saved = lab.engine.config();
            let told = Engine::new(&saved).expect("valid").difference(&lab.config);
            assert!(told.expect("valid").is_empty(), "saved as it was given");
            step(&lab);
            let member = lab
                .engine
                .look(|table| table.members(id).expect("a service"));
            let member = member.iter().find(|member| member.rip == rip_of(0));
            let member = member.expect("a member");
            assert_eq!((member.given, member.limit), (*weight, limit), "{what}");
            let during = match limit {
                Limit::Share { .. } => weight / 2,
                _ => 0,
            };
            assert_eq!(member.weight, during, "{limit:?}, {what}");
            set(Limit::None).expect("a server");
            let after = lab.engine.look(weights);
            assert!(
                after.contains(&(rip_of(0), *weight)),
                "{limit:?}, {what}: {after:?}"
            );
        }
    }
}

#[test]
fn a_quiesced_server_keeps_its_conns_and_one_that_is_out_loses_them() {
    for (limit, keeps) in [(Limit::Quiesced, true), (Limit::Out, false)] {
        let mut lab = Lab::new(vec![web(1, 1)]);
        let id = lab.config.services[0].id;
        let (syn, ack) = (to_service(4000).syn(), to_service(4000).payload(b"x"));
        assert_eq!(server_of(&mut lab, &syn), Some(0));
        let set = |lab: &Lab, limit| {
            let limited = lab
                .engine
                .edit(|table| table.limit_server(id, rip_of(0), limit));
            limited.expect("a server");
        };
        set(&lab, limit);
        assert_eq!(server_of(&mut lab, &ack), keeps.then_some(0), "{limit:?}");
        assert_eq!(server_of(&mut lab, &to_service(4001).syn()), None);
        set(&lab, Limit::None);
        assert_eq!(server_of(&mut lab, &ack), Some(0), "it takes them up again");
        assert_eq!(server_of(&mut lab, &to_service(4002).syn()), Some(0));
    }
}

#[test]
fn a_server_that_is_out_can_be_deleted_and_added() {
    let lab = Lab::new(vec![web(2, 10)]);
    let id = lab.config.services[0].id;
    let members = || {
        lab.engine
            .look(|table| table.members(id).expect("a service").len())
    };
    lab.engine.edit(|table| {
        table
            .limit_server(id, rip_of(0), Limit::Out)
            .expect("a server");
        assert_eq!(weights(table), [(rip_of(1), 10)]);
        table
            .add_server(id, &spec(rip_of(0), 4))
            .expect("it is out");
        assert_eq!(weights(table), [(rip_of(0), 0), (rip_of(1), 10)]);
        table
            .limit_server(id, rip_of(0), Limit::None)
            .expect("a server");
        assert_eq!(weights(table), [(rip_of(0), 4), (rip_of(1), 10)]);
        table
            .limit_server(id, rip_of(0), Limit::Out)
            .expect("a server");
    });
    assert_eq!(members(), 2);
    lab.engine
        .edit(|table| table.delete_server(id, rip_of(0)).expect("a member"));
    assert_eq!(members(), 1);
    let again = |table: &mut ServiceTable| table.limit_server(id, rip_of(0), Limit::None);
    assert_eq!(lab.engine.edit(again), Err(lb::Refusal::NoSuchServer));
}

#[test]
fn a_new_server_that_is_held_has_no_weight_and_one_that_was_there_keeps_its() {
    let lab = Lab::new(vec![web(1, 10)]);
    let mut wanted = lab.config.clone();
    wanted.services = vec![web(2, 10)];
    wanted.services[0]
        .servers
        .iter_mut()
        .for_each(|server| server.held = true);
    lab.engine.apply(&wanted).expect("valid");
    assert_eq!(lab.engine.look(weights), [(rip_of(1), 0), (rip_of(0), 10)]);
}

#[test]
fn a_stand_in_is_no_part_of_the_configuration() {
    let lab = Lab::new(vec![web(1, 10)]);
    let id = lab.config.services[0].id;
    lab.engine.edit(|table| {
        table.add_stand_in(id, &spec(rip_of(5), 1)).expect("new");
        assert_eq!(table.members(id).expect("a service").len(), 1);
    });
    assert_eq!(lab.engine.config(), lab.config);
    lab.engine.apply(&lab.config).expect("valid");
    assert_eq!(lab.engine.look(weights), [(rip_of(5), 1), (rip_of(0), 10)]);
    lab.engine
        .edit(|table| table.delete_server(id, rip_of(5)).expect("it is there"));
    assert_eq!(lab.engine.look(weights), [(rip_of(0), 10)]);
}
