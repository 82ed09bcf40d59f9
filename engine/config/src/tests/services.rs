//! `[[service]]`, `[[service.server]]`, `[[mark]]`.

use std::path::Path;

use lb::ConnState;

use super::{GOOD, drawn};
use crate::{parse, write};

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
