//! `[service.check]`, `[service.server.check]`, `[service.passive]`.

use super::{GOOD, drawn};
use crate::{changed_checks, parse, write};

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
