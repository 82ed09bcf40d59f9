//! Hosts on one switch.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use lb_testkit::netns::{End, Namespace, bridge, veth};

/// Host `number` of segment `net`.
pub fn v4(net: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 7, net, number)
}

/// The same in IPv6.
pub fn v6(net: u8, number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 7, net.into(), 0, 0, 0, number.into())
}

/// Both.
pub fn both(net: u8, number: u8) -> [IpAddr; 2] {
    [v4(net, number).into(), v6(net, number).into()]
}

/// Its MAC there.
pub fn mac(net: u8, number: u8) -> String {
    format!("02:07:00:00:{net:02x}:{number:02x}")
}

/// Connects `hosts`, each by an interface of this name and with this number, by a switch that lives as long as the value.
pub fn connect(net: u8, hosts: &[(&Namespace, &str, u8)]) -> Namespace {
    let switch = Namespace::new("switch").expect("a namespace");
    let port = |number: u8| format!("port{number}");
    for (host, interface, number) in hosts {
        let port = port(*number);
        veth(End::new(host, interface), End::new(&switch, &port), 1).expect("a cable");
        let lines = [
            format!("link set {interface} address {}", mac(net, *number)),
            format!("address add {}/24 dev {interface}", v4(net, *number)),
            format!("address add {}/64 dev {interface} nodad", v6(net, *number)),
        ];
        for line in lines {
            host.ip(&line).expect(&line);
        }
    }
    let ports: Vec<String> = hosts.iter().map(|(.., number)| port(*number)).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    bridge(&switch, "br0", &ports).expect("a switch");
    switch
}

/// Lets a host serve `vips` without answering ARP for them, as DR and TUN need it.
pub fn hold(host: &Namespace, vips: &[IpAddr]) {
    for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
        let key = format!("net/ipv4/conf/all/{key}");
        host.sysctl(&key, value).expect("a switch of the kernel's");
    }
    for vip in vips {
        // Only an IPv6 address waits until nobody has objected.
        let rest = if vip.is_ipv4() { "/32" } else { "/128 nodad" };
        host.ip(&format!("address add dev lo {vip}{rest}"))
            .expect("an address");
    }
}

/// Whether these programs are installed; if not, the test should return, which it says.
pub fn installed(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let run = Command::new(program).arg("--version").output();
        run.is_err()
    });
    let Some(missing) = missing else {
        return true;
    };
    let required = std::env::var_os("LB_REQUIRE_NETNS").is_some_and(|value| value == "1");
    assert!(!required, "LB_REQUIRE_NETNS=1, but {missing} is missing");
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    // Past the test runner, which swallows what a passing test prints; nobody to tell if that fails.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {missing} is missing");
    false
}
