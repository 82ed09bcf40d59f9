mod checks;
mod services;

use std::fs;

use annotate_snippets::Renderer;
use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"[engine]
interfaces = ["eth0", "eth1"]
workers = 2
capacity = 1_000

[[service]]
vip = "10.0.0.100:80"
protocol = "tcp"
scheduler = "rr"
mode = "nat"
vip_interface = "eth0"

[[service.server]]
rip = "192.168.100.2:8080"
weight = 100

[[service.server]]
rip = "192.168.100.3:8080"

[[service]]
vip = "10.0.0.100:53"
protocol = "udp"
scheduler = "rr"
mode = "dr"
"#;

fn drawn(text: &str) -> String {
    match parse("lbd.toml".into(), text.into()) {
        Ok(config) => panic!("taken: {config:?}"),
        Err(refusal) => refusal.draw(&Renderer::plain()),
    }
}

fn edited(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn every_key_is_read() {
    let config = parse("lbd.toml".into(), GOOD.into())
        .expect("a good file")
        .balancer;
    assert_eq!(config.engine.interfaces, ["eth0", "eth1"]);
    assert_eq!(config.engine.workers, lb::Workers::Count(2));
    assert_eq!(config.engine.capacity, 1000);
    let [web, dns] = &config.services[..] else {
        panic!("{config:?}")
    };
    assert_eq!(web.id.to_string(), "tcp 10.0.0.100:80");
    assert_eq!(web.vip_interface.as_deref(), Some("eth0"));
    assert_eq!((web.scheduler.as_str(), web.mode.as_str()), ("rr", "nat"));
    assert_eq!(web.servers[0].weight, 100);
    assert_eq!(web.servers[1].weight, 1);
    assert_eq!(dns.id.to_string(), "udp 10.0.0.100:53");
    assert_eq!((dns.vip_interface.as_deref(), dns.servers.len()), (None, 0));
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse("f".into(), "[engine]\ninterfaces = [\"eth0\"]".into())
        .expect("enough")
        .balancer;
    let defaults = lb::EngineConfig::default();
    assert_eq!(config.engine.workers, defaults.workers);
    assert_eq!(config.engine.capacity, defaults.capacity);
    assert!(!config.engine.busy_poll);
    assert!(config.services.is_empty());
}

#[test]
fn busy_polling_is_asked_for_and_written_only_then() {
    let read = |value: &str| {
        let text = edited("workers = 2", &format!("busy_poll = {value}"));
        parse("lbd.toml".into(), text).expect("a good file")
    };
    assert!(read("true").balancer.engine.busy_poll);
    assert!(write(&read("true")).contains("\nbusy_poll = true\n"));
    assert!(!write(&read("false")).contains("busy_poll"));
    let refused = drawn(&edited("workers = 2", "busy_poll = \"50us\""));
    let expected = "error: engine.busy_poll: \"50us\", allowed: true or false\n";
    assert!(refused.starts_with(expected), "{refused}");
}

#[test]
fn a_misspelt_key_is_shown_with_the_one_it_resembles() {
    assert_eq!(
        drawn(&edited("interfaces", "interface")),
        r#"error: engine.interfaces: missing, allowed: an interface's name, like "eth0"
 --> lbd.toml:1:1
  |
1 | [engine]
  | ^^^^^^^^

error: engine.interface: unknown key
 --> lbd.toml:2:1
  |
2 | interface = ["eth0", "eth1"]
  | ^^^^^^^^^ did you mean `interfaces`?"#
    );
    assert_eq!(
        drawn(&edited("workers", "colour")),
        r#"error: engine.colour: unknown key
 --> lbd.toml:3:1
  |
3 | colour = 2
  | ^^^^^^ allowed here: interfaces, workers, capacity, local_ports, busy_poll, peers"#
    );
}

#[test]
fn all_mistakes_are_shown_in_the_order_of_the_file() {
    let text = edited("workers = 2", "workers = \"many\"")
        .replacen("protocol = \"udp\"\n", "", 1)
        .replacen("weight = 100", "weight = -1", 1)
        .replacen("\"10.0.0.100:80\"", "\"10.0.0.100\"", 1);
    assert_eq!(
        drawn(&text),
        r#"error: engine.workers: "many", allowed: "auto" or a number from 1
 --> lbd.toml:3:11
  |
3 | workers = "many"
  |           ^^^^^^

error: service[0].vip: "10.0.0.100", allowed: ADDRESS:PORT, like "10.0.0.100:80" or "[2001:db8::1]:443"
 --> lbd.toml:7:7
  |
7 | vip = "10.0.0.100"
  |       ^^^^^^^^^^^^

error: service[0].server[0].weight: -1, allowed: 0..=65535
  --> lbd.toml:15:10
   |
15 | weight = -1
   |          ^^

error: service[1].protocol: missing, allowed: "tcp", "udp" or "sctp"
  --> lbd.toml:20:1
   |
20 | [[service]]
   | ^^^^^^^^^^^"#
    );
}

#[test]
fn what_the_engine_refuses_is_shown_where_it_stands() {
    let text = edited("weight = 100", "weight = 70000").replacen("\"eth1\"", "\"eth0\"", 1);
    assert_eq!(
        drawn(&text),
        r#"error: engine.interfaces[1]: "eth0" is listed twice
 --> lbd.toml:2:23
  |
2 | interfaces = ["eth0", "eth0"]
  |                       ^^^^^^

error: service[0].server[0].weight: 70000, allowed 0..=65535
  --> lbd.toml:15:10
   |
15 | weight = 70000
   |          ^^^^^"#
    );
    assert_eq!(
        drawn(&edited("\"nat\"", "\"nta\"")),
        r#"error: service[0].mode: "nta", allowed: dr, nat, tun, fnat, enat
  --> lbd.toml:10:8
   |
10 | mode = "nta"
   |        ^^^^^"#
    );
}

#[test]
fn text_that_is_no_toml_is_shown_up_to_where_it_stops_being_it() {
    assert_eq!(
        drawn(&edited("[[service]]", "[[service]")),
        r#"error: unclosed array table, expected `]`
 --> lbd.toml:6:11
  |
6 | [[service]
  |           ^"#
    );
    assert_eq!(
        drawn(&edited("workers = 2", "workers = 2\nworkers = 3")),
        r#"error: duplicate key
 --> lbd.toml:4:1
  |
4 | workers = 3
  | ^^^^^^^"#
    );
}

#[test]
fn the_shape_of_tables_and_lists_is_checked() {
    for (text, title) in [
        ("", "error: engine: missing, allowed: a table [engine]"),
        ("engine = 3", "error: engine: 3, allowed: a table"),
        (
            "[engine]",
            "error: engine.interfaces: missing, allowed: an interface's name, like \"eth0\"",
        ),
        (
            "[engine]\ninterfaces = \"eth0\"",
            "error: engine.interfaces: \"eth0\", allowed: a list of: an interface's name",
        ),
        (
            "[engine]\ninterfaces = [\"eth0\", 5]",
            "error: engine.interfaces[1]: 5, allowed: an interface's name, like \"eth0\"",
        ),
        (
            "[engine]\ninterfaces = [\"a\"]\n[service]\nvip = 3",
            "error: service: [service], allowed: [[service]] for each one",
        ),
        (
            "[engine]\ninterfaces = []\n[control]\nsocket = \"s\"",
            "error: control.socket: \"s\", allowed: an absolute path",
        ),
        (
            "service = [3]\n[engine]\ninterfaces = [\"a\"]",
            "error: service[0]: 3, allowed: a table",
        ),
    ] {
        let drawn = drawn(text);
        assert!(drawn.starts_with(title), "{drawn}");
    }
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lbd.toml");
    let refused = |path: &Path| {
        let refusal = load(path).expect_err("not a configuration");
        refusal.draw(&Renderer::plain())
    };
    let missing = refused(&file);
    assert!(
        missing.contains("lbd.toml: No such file or directory"),
        "{missing}"
    );
    let directory = refused(folder.path());
    assert!(directory.contains("Is a directory"), "{directory}");
    fs::write(&file, b"[engine]\n# \xff\n").expect("a file");
    let binary = refused(&file);
    assert!(
        binary.ends_with("lbd.toml: line 2 is not UTF-8 text"),
        "{binary}"
    );
    let endless = refused(Path::new("/dev/zero"));
    assert!(endless.ends_with("larger than 64 MiB"), "{endless}");
}

/// A text near a good one: pieces cut out, doubled, or put elsewhere.
fn damaged() -> impl Strategy<Value = String> {
    let damage = (any::<prop::sample::Index>(), 0..40_usize, ".{0,3}");
    prop::collection::vec(damage, 1..4).prop_map(|damages| {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, cut, put) in damages {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof![damaged(), any::<String>()]) {
        for renderer in [Renderer::plain(), Renderer::styled()] {
            if let Err(refusal) = parse("f".into(), text.clone()) {
                prop_assert!(!refusal.draw(&renderer).is_empty());
            }
        }
    }
}
