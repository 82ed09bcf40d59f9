use std::fs;

use annotate_snippets::Renderer;
use lb::ConnState;
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

const EVERYTHING: &str = r#"[engine]
interfaces = []
[control]
socket = "/run/lbd.sock"
[timeouts]
tcp = "1h"
udp = "30s"
[[service]]
vip = "10.0.0.100:0"
protocol = "tcp"
scheduler = "sh"
scheduler_flags = ["sh-fallback", "sh-port"]
mode = "nat"
persistence = { timeout = "300s", netmask = 24 }
[[service.server]]
rip = "192.168.100.2"
upper_threshold = 100
lower_threshold = 50
[[service.server]]
rip = "192.168.100.3"
mode = "dr"
[[service]]
mark = 7
family = 6
scheduler = "lblc"
mode = "tun"
one_packet = true
persistence = { netmask = 64 }
[[service.server]]
rip = "2001:db8::2"
[[service.server]]
rip = "192.168.100.4:0"
[[mark]]
mark = 7
destination = "2001:db8:1::/64"
"#;

#[test]
fn services_are_all_that_ipvsadm_can_make_them() {
    let settings = parse("lbd.toml".into(), EVERYTHING.into()).expect("a good file");
    let socket = settings.control.socket.expect("given");
    assert_eq!(socket, Path::new("/run/lbd.sock"));
    let config = settings.balancer;
    let timeout = |state| config.timeouts.of(state).as_secs();
    let timeouts = [ConnState::Established, ConnState::FinWait, ConnState::Udp].map(timeout);
    assert_eq!(timeouts, [3600, 120, 30]);
    let [any_port, marked] = &config.services[..] else {
        panic!("{config:?}")
    };
    assert_eq!(any_port.id.to_string(), "tcp 10.0.0.100:0");
    let flags = any_port.scheduler_flags.shown("sh");
    assert_eq!(flags, "sh-fallback,sh-port");
    let persistence = any_port.persistence.expect("given");
    assert_eq!(persistence.timeout.as_secs(), 300);
    assert_eq!(persistence.netmask.to_string(), "255.255.255.0");
    let [first, second] = &any_port.servers[..] else {
        panic!("{any_port:?}")
    };
    assert_eq!(first.rip.to_string(), "192.168.100.2:0");
    let (upper, lower) = (100, 50);
    assert_eq!(first.thresholds, lb::Thresholds { upper, lower });
    assert_eq!(second.mode.as_deref(), Some("dr"));
    assert_eq!(marked.id.to_string(), "mark 7 IPv6");
    let persistence = marked.persistence.expect("given");
    assert_eq!(persistence.timeout.as_secs(), 360);
    assert_eq!(persistence.netmask.to_string(), "ffff:ffff:ffff:ffff::");
    assert!(marked.one_packet && !any_port.one_packet);
    assert_eq!(marked.servers[0].rip.to_string(), "[2001:db8::2]:0");
}

#[test]
fn what_does_not_go_together_is_shown() {
    for (from, to, title) in [
        (
            "mark = 7\nfamily",
            "mark = 7\nvip = \"10.0.0.1:80\"\nfamily",
            "service[1].vip: \"10.0.0.1:80\", allowed: nothing: the service has a mark",
        ),
        (
            "[\"sh-fallback\", \"sh-port\"]",
            "[\"mh-port\"]",
            "service[0].scheduler_flags: [\"mh-port\"], allowed: flags that begin with \"mh-\" for scheduler mh only",
        ),
        (
            "netmask = 24",
            "netmask = 33",
            "service[0].persistence.netmask: 33, allowed: 1..=32",
        ),
        (
            "netmask = 64",
            "netmask = \"255.255.0.0\"",
            "service[1].persistence.netmask: \"255.255.0.0\", allowed: 1..=128",
        ),
        (
            "netmask = 24",
            "netmasc = 24",
            "service[0].persistence.netmasc: unknown key",
        ),
        (
            "timeout = \"300s\"",
            "timeout = 300",
            "service[0].persistence.timeout: 300, allowed: whole seconds in words like \"300s\", \"15m\" or \"1h 30m\", up to 31 days",
        ),
        (
            "persistence = { timeout = \"300s\", netmask = 24 }\n",
            "",
            "service[0].vip: 10.0.0.100:0, allowed: ports 1..=65535, or with persistence 0 for every port",
        ),
        (
            "lower_threshold = 50",
            "lower_threshold = 101",
            "service[0].server[0].lower_threshold: 101, allowed 0..=100, the upper one",
        ),
        (
            "mode = \"nat\"\n",
            "mode = \"nat\"\none_packet = true\n",
            "service[0].one_packet: true, allowed for protocol \"udp\" and for marks",
        ),
        (
            "mode = \"dr\"",
            "mode = \"rd\"",
            "service[0].server[1].mode: \"rd\", allowed: dr, nat, tun, fnat, enat",
        ),
        (
            "family = 6",
            "family = 5",
            "service[1].family: 5, allowed: 4 or 6",
        ),
        (
            "rip = \"192.168.100.4:0\"",
            "rip = \"192.168.100.4:80\"",
            "service[1].server[1].rip: 192.168.100.4:80, allowed: port 0, the service's: mode tun cannot map ports",
        ),
        ("tcp = \"1h\"", "tcq = \"1h\"", "timeouts.tcq: unknown key"),
        (
            "socket = \"/run/lbd.sock\"",
            "socket = \"lbd.sock\"",
            "control.socket: \"lbd.sock\", allowed: an absolute path, like \"/run/lbd.sock\"",
        ),
    ] {
        assert!(EVERYTHING.contains(from), "{from}");
        let drawn = drawn(&EVERYTHING.replacen(from, to, 1));
        assert!(drawn.starts_with(&format!("error: {title}\n")), "{drawn}");
    }
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

/// The configuration with a tunnelled service of one server, whose table ends with these lines.
fn tunnelled(lines: &str) -> String {
    format!(
        "{GOOD}\n[[service]]\nvip = \"10.0.0.101:80\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\nmode = \"tun\"\n\
         [[service.server]]\nrip = \"10.1.0.11:80\"\n{lines}\n"
    )
}

#[test]
fn a_server_says_what_its_packets_are_wrapped_in() {
    use lb::{Tunnel, TunnelChecksum};
    let gue = |checksum| Tunnel::Gue {
        port: 6080,
        checksum,
    };
    let cases = [
        ("", Tunnel::Ipip),
        (r#"tunnel = { type = "ipip" }"#, Tunnel::Ipip),
        (
            r#"tunnel = { type = "gue", port = 6080 }"#,
            gue(TunnelChecksum::Absent),
        ),
        (
            r#"tunnel = { type = "gue", port = 6080, checksum = "remcsum" }"#,
            gue(TunnelChecksum::Remote),
        ),
        (
            "[service.server.tunnel]\ntype = \"gre\"\nchecksum = \"csum\"",
            Tunnel::Gre {
                checksum: TunnelChecksum::Present,
            },
        ),
    ];
    for (lines, tunnel) in cases {
        let config = parse("lbd.toml".into(), tunnelled(lines)).expect("good");
        assert_eq!(
            config.balancer.services[2].servers[0].tunnel, tunnel,
            "{lines}"
        );
    }
}

#[test]
fn a_tunnel_that_cannot_be_is_drawn_where_it_stands() {
    let cases = [
        (r#"tunnel = "gue""#, "service[2].server[0].tunnel"),
        (
            r#"tunnel = { type = "gue" }"#,
            "service[2].server[0].tunnel.port",
        ),
        (
            r#"tunnel = { type = "gue", port = 0 }"#,
            "the server's UDP port for GUE, 1..=65535",
        ),
        (
            r#"tunnel = { type = "gre", port = 6080 }"#,
            "service[2].server[0].tunnel.port",
        ),
        (
            r#"tunnel = { type = "gre", checksum = "remcsum" }"#,
            "\"none\" or \"csum\"",
        ),
        (
            r#"tunnel = { type = "vxlan" }"#,
            "\"ipip\", \"gue\" or \"gre\"",
        ),
    ];
    for (lines, said) in cases {
        let drawn = drawn(&tunnelled(lines));
        assert!(drawn.contains(said), "{lines}\n{drawn}");
    }
}

#[test]
fn what_ipvsadm_can_make_can_be_written_and_read() {
    let text = "[engine]\ninterfaces = []\n\
        [[service]]\nvip = \"192.0.2.1:9\"\nprotocol = \"sctp\"\nscheduler = \"rr\"\nmode = \"nat\"\n\
        [[service]]\nvip = \"192.0.2.1:80\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\nmode = \"fnat\"\n\
        local_addresses = []\n";
    let settings = parse("f".into(), text.into()).expect("valid");
    let written = write(&settings);
    assert_eq!(
        parse("g".into(), written.clone()).expect("valid"),
        settings,
        "{written}"
    );
    let missing = text.replace("local_addresses = []\n", "");
    let refusal = parse("f".into(), missing).expect_err("no local addresses");
    assert!(
        refusal.to_string().contains("needs at least one"),
        "{refusal}"
    );
}

#[test]
fn local_addresses_name_their_interfaces_each_or_all_at_once() {
    let fnat = |lines: &str| {
        format!(
            "[engine]\ninterfaces = []\n[[service]]\nvip = \"10.0.0.100:80\"\nprotocol = \"tcp\"\n\
             scheduler = \"rr\"\nmode = \"fnat\"\n{lines}\n"
        )
    };
    let on_one = r#"local_addresses = ["10.1.0.2", "10.1.0.3"]
local_interface = "eth0""#;
    let on_two = r#"local_addresses = ["10.1.0.2 dev eth0", "10.1.0.3 dev eth1"]"#;
    let some = r#"local_addresses = ["10.1.0.2", "10.1.0.3 dev eth1"]"#;
    for (lines, places, written) in [
        (on_one, [Some("eth0"), Some("eth0")], on_one),
        (on_two, [Some("eth0"), Some("eth1")], on_two),
        (some, [None, Some("eth1")], some),
        (
            r#"local_addresses = ["10.1.0.2", "10.1.0.3 dev eth1"]
local_interface = "eth0""#,
            [Some("eth0"), Some("eth1")],
            on_two,
        ),
        (
            r#"local_addresses = ["10.1.0.2 dev eth0", "10.1.0.3 dev eth0"]"#,
            [Some("eth0"), Some("eth0")],
            on_one,
        ),
    ] {
        let settings = parse("f".into(), fnat(lines)).expect(lines);
        let service = &settings.balancer.services[0];
        let of = |lip| service.local_interfaces.get(lip).map(String::as_str);
        let read: Vec<_> = service.local_addresses.iter().map(of).collect();
        assert_eq!(read, places, "{lines}");
        let text = write(&settings);
        assert!(text.contains(&format!("\n{written}\n")), "{lines}: {text}");
        assert_eq!(parse("g".into(), text).expect(lines), settings, "{lines}");
    }
    for (lines, expected) in [
        (
            r#"local_addresses = ["10.1.0.2 on eth0"]"#,
            "service[0].local_addresses[0]: \"10.1.0.2 on eth0\", allowed: an address",
        ),
        (
            r#"local_addresses = ["10.1.0.2 dev eth0", "10.1.0.2 dev eth1"]"#,
            "service[0].local_addresses[1]: 10.1.0.2 is listed twice",
        ),
        (
            "local_addresses = []\nlocal_interface = \"eth0\"",
            "service[0].local_interface: \"eth0\", allowed: nothing: there are no local_addresses",
        ),
    ] {
        let told = drawn(&fnat(lines));
        assert!(
            told.contains(&format!("error: {expected}")),
            "{lines}: {told}"
        );
    }
}

/// With these lines in the first service's `[service.check]`.
fn checked(lines: &str) -> String {
    let second = GOOD.rfind("[[service]]").expect("two services");
    let (first, second) = GOOD.split_at(second);
    format!("{first}[service.check]\n{lines}\n\n{second}")
}

#[test]
fn every_kind_of_check_is_read_and_written() {
    for lines in [
        "type = \"tcp\"",
        "type = \"vip\"",
        "type = \"icmp\"\ninterval = \"500ms\"\ntimeout = \"50ms\"\nrise = 1\nfall = 1\ndamping = \"1m\"",
        "type = \"http\"",
        "type = \"http\"\npath = \"/a?b=c\"\nhost = \"w.example\"\nstatus = \"200,301-302\"\nbody = \"\\\"ok\\\"\"",
        "type = \"https\"\nverify = true\ntls_name = \"w.example\"\nport = 8443\nsource = \"10.0.0.1\"",
        "type = \"udp\"\nsend = \"ping\\n\"\nexpect_hex = \"00 ff\"",
        "type = \"dns\"\nname = \"w.example\"\nrecord = \"AAAA\"",
        "type = \"script\"\ncommand = [\"/bin/check\", \"--fast\"]\nnotify = [\"/bin/tell\"]",
        "type = \"tcp\"\non_failure = \"remove\"\ninitial = \"down\"\nquorum = 3\nhysteresis = 1\nslow_start = \"1m\"",
        "type = \"tcp\"\nsorry_server = { rip = \"192.168.100.9:81\" }",
        "type = \"tcp\"\nsorry_server = { rip = \"192.168.100.9\", mode = \"tun\", tunnel = { type = \"gre\" } }",
    ] {
        let read = parse("f".into(), checked(lines)).expect(lines);
        let id = read.balancer.services[0].id;
        assert_eq!(read.health.keys().collect::<Vec<_>>(), [&id], "{lines}");
        let written = write(&read);
        assert_eq!(parse("f".into(), written).expect(lines), read, "{lines}");
    }
}

#[test]
fn what_is_wrong_with_a_check_is_shown() {
    for (lines, expected) in [
        (
            "",
            "service[0].check.type: missing, allowed: \"tcp\", \"http\"",
        ),
        (
            "type = \"ping\"",
            "service[0].check.type: \"ping\", allowed: \"tcp\"",
        ),
        (
            "type = \"tcp\"\npath = \"/\"",
            "service[0].check.path: unknown key",
        ),
        (
            "type = \"tcp\"\ninterval = \"3\"",
            "service[0].check.interval: \"3\", allowed: a time like",
        ),
        (
            "type = \"tcp\"\ninterval = \"0s\"",
            "service[0].check.interval: \"0s\", allowed: a time like",
        ),
        (
            "type = \"tcp\"\nfall = 0",
            "service[0].check.fall: 0, allowed: 1..=100",
        ),
        (
            "type = \"http\"\npath = \"health\"",
            "service[0].check.path: \"health\", allowed: a path that begins",
        ),
        (
            "type = \"http\"\nstatus = \"2xx\"",
            "service[0].check.status: \"2xx\", allowed: statuses",
        ),
        (
            "type = \"dns\"\nname = \"a..b\"",
            "service[0].check.name: \"a..b\", allowed: a domain name",
        ),
        (
            "type = \"script\"",
            "service[0].check.command: missing, allowed: a word",
        ),
        (
            "type = \"script\"\ncommand = [\"check\"]",
            "service[0].check.command: [\"check\"], allowed: a list that begins",
        ),
        (
            "type = \"udp\"\nsend = \"a\"\nsend_hex = \"00\"",
            "service[0].check.send_hex: \"00\", allowed: nothing beside `send`",
        ),
        (
            "type = \"tcp\"\nsorry_server = { rip = \"192.168.100.2:8080\" }",
            "service[0].check.sorry_server.rip: \"192.168.100.2:8080\", allowed: an address that is no server",
        ),
        (
            "type = \"tcp\"\nsorry_server = { rip = \"[2001:db8::9]:80\" }",
            "service[0].check.sorry_server.rip: [2001:db8::9]:80, allowed: IPv4 addresses",
        ),
        (
            "type = \"tcp\"\nsorry_server = { rip = \"10.0.0.9:81\", mode = \"dr\" }",
            "service[0].check.sorry_server.rip: 10.0.0.9:81, allowed: port 80",
        ),
    ] {
        let told = drawn(&checked(lines));
        assert!(
            told.contains(&format!("error: {expected}")),
            "{lines}: {told}"
        );
    }
    let marked = "[engine]\ninterfaces = []\n[[service]]\nmark = 7\nscheduler = \"rr\"\nmode = \"dr\"\n\
                  [[service.server]]\nrip = \"10.0.0.9\"\n[service.check]\ntype = \"tcp\"\n";
    assert!(drawn(marked).contains("service[0].check.port: missing, allowed: a port from 1"));
    assert!(parse("f".into(), format!("{marked}port = 80\n")).is_ok());
}

/// As the first documents of the project show it.
#[test]
fn a_check_may_stand_among_everything_else() {
    let text = r#"
[engine]
interfaces = ["eth0", "eth1"]
workers = "auto"
capacity = 1_000_000
[control]
socket = "/run/lbd.sock"
[[service]]
vip = "10.0.0.100:80"
protocol = "tcp"
scheduler = "wrr"
mode = "fnat"
local_addresses = ["192.168.100.200"]
persistence = { timeout = "300s", netmask = 24 }
[[service.server]]
rip = "192.168.100.2:80"
weight = 100
[service.check]
type = "tcp"
interval = "3s"
[[service]]
mark = 7
family = 4
scheduler = "lblc"
mode = "dr"
[[mark]]
mark = 7
destination = "198.51.100.0/24"
protocol = "tcp"
ports = "80-90"
[ipvs]
conn_reuse_mode = 1
[[interface]]
name = "eth1"
mac = "02:00:00:00:00:d0"
mtu = 1500
addresses = ["10.20.0.1/16", "2001:db8:20::1/64"]
[[route]]
destination = "0.0.0.0/0"
via = "198.18.0.254"
interface = "eth0"
[[neighbour]]
ip = "192.168.100.2"
mac = "02:00:00:00:00:02"
interface = "eth1"
"#;
    let read = parse("lbd.toml".into(), text.into()).unwrap_or_else(|why| panic!("{why}"));
    let [check] = &read.health.values().collect::<Vec<_>>()[..] else {
        panic!("{:?}", read.health)
    };
    assert_eq!(check.checks[0].interval.as_secs(), 3);
}

/// With these tables after the first service's first server.
fn with_tables(tables: &str) -> String {
    with_servers("", tables)
}

/// The same with these lines in the server.
fn with_servers(lines: &str, tables: &str) -> String {
    let text = "[engine]\ninterfaces = []\n[[service]]\nvip = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nscheduler = \"wrr\"\n\
                mode = \"nat\"\n[[service.server]]\nrip = \"192.168.100.2:8080\"\n";
    format!("{text}{lines}{tables}")
}

const TWO_CHECKS: &str =
    "[[service.check]]\ntype = \"tcp\"\nquorum = 2\n[[service.check]]\ntype = \"icmp\"\n";

#[test]
fn services_may_have_several_checks_and_servers_their_own() {
    let own = "[service.server.check]\ntype = \"http\"\n";
    let two_own =
        "[[service.server.check]]\ntype = \"http\"\n[[service.server.check]]\ntype = \"dns\"\n";
    let passive = "[service.passive]\n";
    let judged = "[service.passive]\nwindow = \"5s\"\nunanswered = 0\nresets = 90\nleast_conns = 1\nkeeps = 1\n\
                  most_taken = 98\n";
    for (tables, checks, own_checks, is_passive) in [
        (TWO_CHECKS.to_owned(), 2, 0, false),
        (own.to_owned(), 0, 1, false),
        (format!("{own}{TWO_CHECKS}"), 2, 1, false),
        (format!("{two_own}{TWO_CHECKS}{passive}"), 2, 2, true),
        (passive.to_owned(), 0, 0, true),
        (judged.to_owned(), 0, 0, true),
    ] {
        let read = parse("f".into(), with_tables(&tables)).expect(&tables);
        let health = read.health.values().next().expect(&tables);
        let rip = read.balancer.services[0].servers[0].rip;
        let seen = (
            health.checks.len(),
            health.own_checks.get(&rip).map_or(0, Vec::len),
            health.passive.is_some(),
        );
        assert_eq!(seen, (checks, own_checks, is_passive), "{tables}");
        let written = write(&read);
        assert_eq!(parse("f".into(), written).expect(&tables), read, "{tables}");
    }
}

#[test]
fn what_is_for_the_whole_service_stands_in_its_first_check() {
    for (tables, expected) in [
        (
            format!("{TWO_CHECKS}quorum = 3\n"),
            "service[0].check[1].quorum: 3, allowed: nothing: for the whole service",
        ),
        (
            "[service.server.check]\ntype = \"tcp\"\ninitial = \"down\"\n".to_owned(),
            "service[0].server[0].check.initial: \"down\", allowed: nothing: this is for the whole",
        ),
        (
            "[[service.check]]\ntype = \"tcp\"\n[[service.check]]\ntype = \"ping\"\n".to_owned(),
            "service[0].check[1].type: \"ping\", allowed: \"tcp\"",
        ),
        (
            "[[service.check]]\ntype = \"tcp\"\nsorry_server = { rip = \"[2001:db8::9]:80\" }\n[[service.check]]\n\
             type = \"icmp\"\n"
                .to_owned(),
            "service[0].check[0].sorry_server.rip: [2001:db8::9]:80, allowed: IPv4 addresses",
        ),
        (
            "[service.server.check]\ntype = \"vip\"\n[service.passive]\nkeeps = 60\n".to_owned(),
            "service[0].passive.keeps: 60, allowed: together less than 100",
        ),
        (
            "[service.passive]\nunanswered = 101\n".to_owned(),
            "service[0].passive.unanswered: 101, allowed: percent",
        ),
        (
            "[service.passive]\nsilent = 3\n".to_owned(),
            "service[0].passive.silent: unknown key",
        ),
    ] {
        let told = drawn(&with_tables(&tables));
        assert!(
            told.contains(&format!("error: {expected}")),
            "{tables}: {told}"
        );
    }
}

#[test]
fn a_check_of_the_vip_is_refused_where_it_would_ask_something_else() {
    let check = "[service.check]\ntype = \"vip\"\n";
    let tun = |lines: &str| {
        with_servers(lines, check)
            .replace("\"nat\"", "\"tun\"")
            .replace(":8080", "")
    };
    assert!(parse("f".into(), tun("")).is_ok());
    let own = "tunnel = { type = \"gre\" }\n[service.server.check]\ntype = \"tcp\"\n";
    assert!(
        parse("f".into(), tun(own)).is_ok(),
        "it is asked another way"
    );
    for (text, expected) in [
        (
            tun("tunnel = { type = \"gre\" }\n"),
            "service[0].check.type: \"vip\", allowed: another, for \"vip\" asks through a tunnel of type",
        ),
        (
            tun("").replace("192.168.100.2", "2001:db8::2"),
            "service[0].check.type: \"vip\", allowed: another, for \"vip\" asks through a tunnel of type",
        ),
        (
            with_tables(check).replace("\"tcp\"\nsch", "\"udp\"\nsch"),
            "service[0].check.type: \"vip\", allowed: another, for \"vip\" takes a service with a VIP",
        ),
    ] {
        let told = drawn(&text);
        assert!(
            told.contains(&format!("error: {expected}")),
            "{text}: {told}"
        );
    }
}

#[test]
fn a_plan_names_what_changes_about_checks() {
    let read = |lines: &str| parse("f".into(), checked(lines)).expect(lines);
    let from = read("type = \"tcp\"\nfall = 2");
    let to = read("type = \"http\"\ninterval = \"1s\"");
    assert_eq!(changed_checks(&from, &from), [""; 0]);
    assert_eq!(
        changed_checks(&from, &to),
        [
            "~ tcp 10.0.0.100:80: check.fall: 2 -> none",
            "~ tcp 10.0.0.100:80: check.interval: \"3s\" -> \"1s\"",
            "~ tcp 10.0.0.100:80: check.type: \"tcp\" -> \"http\"",
        ]
    );
    let read = |tables: &str| parse("f".into(), with_tables(tables)).expect(tables);
    let own = "[service.server.check]\ntype = \"http\"\ninterval = \"1s\"\n";
    assert_eq!(
        changed_checks(&read(own), &read("[service.passive]\n")),
        [
            "~ tcp 10.0.0.100:80: passive.window: none -> \"10s\"",
            "~ tcp 10.0.0.100:80: server 192.168.100.2:8080: check.interval: \"1s\" -> none",
            "~ tcp 10.0.0.100:80: server 192.168.100.2:8080: check.type: \"http\" -> none",
        ]
    );
    assert_eq!(
        changed_checks(
            &read("[service.check]\ntype = \"tcp\"\nquorum = 2\n"),
            &read(TWO_CHECKS)
        ),
        [
            "~ tcp 10.0.0.100:80: check.interval: \"3s\" -> none",
            "~ tcp 10.0.0.100:80: check.quorum: 2 -> none",
            "~ tcp 10.0.0.100:80: check.type: \"tcp\" -> none",
            "~ tcp 10.0.0.100:80: check[0].interval: none -> \"3s\"",
            "~ tcp 10.0.0.100:80: check[0].quorum: none -> 2",
            "~ tcp 10.0.0.100:80: check[0].type: none -> \"tcp\"",
            "~ tcp 10.0.0.100:80: check[1].interval: none -> \"3s\"",
            "~ tcp 10.0.0.100:80: check[1].type: none -> \"icmp\"",
        ]
    );
}
