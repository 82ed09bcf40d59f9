//! The kernel's tables as they are read, followed and changed, in network namespaces of our own.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_model::{Addr, InterfaceId, NextHops, Resolution};
use lb_netlink::{AddedAddress, Kernel, NetlinkError, Origin};
use lb_testkit::netns::{End, Namespace, available, veth};

const BALANCER: InterfaceId = InterfaceId(0);

/// The balancer at 10.1.0.1 and 2001:db8::1, and its neighbour at 10.1.0.2 and 2001:db8::2.
struct Pair {
    balancer: Namespace,
    neighbour: Namespace,
}

impl Pair {
    fn new() -> Pair {
        let pair = Pair {
            balancer: Namespace::new("balancer").expect("a namespace"),
            neighbour: Namespace::new("neighbour").expect("a namespace"),
        };
        let ends = (
            End::new(&pair.balancer, "lb0"),
            End::new(&pair.neighbour, "rs0"),
        );
        veth(ends.0, ends.1, 1).expect("a veth pair");
        for (end, last) in [(ends.0, 1), (ends.1, 2)] {
            let name = end.name;
            ip(
                end.namespace,
                &format!("addr add 10.1.0.{last}/24 dev {name}"),
            );
            ip(
                end.namespace,
                &format!("addr add 2001:db8::{last}/64 dev {name} nodad"),
            );
        }
        pair
    }

    fn kernel(&self) -> Kernel {
        self.balancer
            .run(|| Kernel::start(&["lb0".to_owned()]))
            .expect("lb0 exists")
    }

    fn mac(&self) -> String {
        let link = ip(&self.neighbour, "-oneline link show rs0");
        let after = link.split_once("link/ether ").expect("an Ethernet link").1;
        after[..17].to_owned()
    }
}

fn ip(namespace: &Namespace, arguments: &str) -> String {
    namespace.ip(arguments).expect("ip succeeds")
}

fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().expect("an address").into()
}

/// Waits until the published state is as `wanted`. The limit only bounds a failure.
fn until(kernel: &Kernel, wanted: impl Fn(&NextHops) -> bool) -> Arc<NextHops> {
    let limit = Instant::now() + Duration::from_secs(60);
    let mut hops = kernel.next_hops().load_full();
    while !wanted(&hops) {
        let left = limit.saturating_duration_since(Instant::now());
        assert!(
            !left.is_zero(),
            "the state that was waited for did not come"
        );
        hops = kernel.changed(&hops, left);
    }
    hops
}

fn mac_of(hops: &NextHops, to: &str) -> Option<String> {
    match hops.resolve(addr(to)) {
        Resolution::Reachable(hop) => Some(hop.ends.destination().to_string()),
        _ => None,
    }
}

fn unresolved(via: &str) -> Resolution {
    Resolution::Unresolved {
        egress: BALANCER,
        next_hop: addr(via),
    }
}

#[test]
fn routes_links_and_local_addresses_are_read_and_followed() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    ip(&pair.balancer, "route add default via 10.1.0.2");
    ip(&pair.balancer, "route add blackhole 10.66.0.0/16");
    let kernel = pair.kernel();
    let hops = kernel.next_hops().load_full();
    assert_eq!(hops.interfaces()[0].name, "lb0");
    assert_eq!(hops.interfaces()[0].mtu, 1500);
    assert_eq!(hops.resolve(addr("10.1.0.9")), unresolved("10.1.0.9"));
    assert_eq!(hops.resolve(addr("192.0.2.1")), unresolved("10.1.0.2"));
    assert_eq!(hops.resolve(addr("10.66.0.1")), Resolution::Unreachable);
    assert!(hops.is_local(addr("10.1.0.1")) && hops.is_local(addr("2001:db8::1")));
    assert!(!hops.is_local(addr("10.1.0.2")) && !hops.is_local(addr("10.1.0.255")));

    ip(&pair.balancer, "link set lb0 mtu 1400");
    until(&kernel, |hops| hops.interfaces()[0].mtu == 1400);
    ip(&pair.balancer, "route replace default via 10.1.0.3");
    until(&kernel, |hops| {
        hops.resolve(addr("192.0.2.1")) == unresolved("10.1.0.3")
    });
    ip(
        &pair.balancer,
        "-6 route add 2001:db8:9::/48 via 2001:db8::2",
    );
    until(&kernel, |hops| {
        hops.resolve(addr("2001:db8:9::1")) == unresolved("2001:db8::2")
    });
    ip(&pair.balancer, "addr add 10.1.0.77/32 dev lo");
    until(&kernel, |hops| {
        hops.locals().any(|a| a == addr("10.1.0.77"))
    });
    // The kernel does not announce the IPv4 routes that this takes away.
    ip(&pair.balancer, "link set lb0 down");
    until(&kernel, |hops| {
        hops.resolve(addr("10.1.0.9")) == Resolution::Unreachable
            && hops.resolve(addr("192.0.2.1")) == Resolution::Unreachable
    });
}

#[test]
fn a_missing_interface_is_named_and_a_deleted_one_takes_its_hops_away() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    let names = ["lb0".to_owned(), "eth9".to_owned()];
    match pair.balancer.run(|| Kernel::start(&names)) {
        Err(NetlinkError::NoSuchInterface { name, existing }) => {
            assert_eq!(name, "eth9");
            assert!(existing.contains(&"lb0".to_owned()), "{existing:?}");
        }
        other => panic!("{:?}", other.err()),
    }

    let kernel = pair.kernel();
    kernel.watch(&[addr("10.1.0.2")]);
    until(&kernel, |hops| mac_of(hops, "10.1.0.2").is_some());
    ip(&pair.balancer, "link delete lb0");
    until(&kernel, |hops| {
        hops.resolve(addr("10.1.0.2")) == Resolution::Unreachable
    });
}

#[test]
fn a_neighbour_is_resolved_on_request_in_both_families() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    let kernel = pair.kernel();
    let resolver = kernel.resolver();
    for next_hop in ["10.1.0.2", "2001:db8::2"] {
        let before = kernel.next_hops().load_full();
        assert_eq!(before.resolve(addr(next_hop)), unresolved(next_hop));
        resolver.request(BALANCER, addr(next_hop));
        let hops = until(&kernel, |hops| mac_of(hops, next_hop).is_some());
        assert_eq!(mac_of(&hops, next_hop), Some(pair.mac()));
    }
}

#[test]
fn a_request_leaves_a_permanent_neighbour_alone() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    ip(
        &pair.balancer,
        "neigh add 10.1.0.2 lladdr 02:00:00:00:00:77 dev lb0 nud permanent",
    );
    let kernel = pair.kernel();
    kernel.watch(&[addr("10.1.0.2")]);
    kernel.resolver().request(BALANCER, addr("10.1.0.2"));
    // A second neighbour, asked about later by the same thread, tells when the first was dealt with.
    kernel.resolver().request(BALANCER, addr("2001:db8::2"));
    let hops = until(&kernel, |hops| mac_of(hops, "2001:db8::2").is_some());
    assert_eq!(mac_of(&hops, "10.1.0.2"), Some("02:00:00:00:00:77".into()));
    let listed = ip(&pair.balancer, "neigh show 10.1.0.2");
    assert!(listed.contains("PERMANENT"), "{listed}");
}

#[test]
fn a_watched_server_that_changes_its_mac_is_found_again_without_traffic() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    // The kernel's own patience is half a minute and more.
    for (key, value) in [
        ("base_reachable_time_ms", "200"),
        ("retrans_time_ms", "100"),
        ("delay_first_probe_time", "1"),
    ] {
        let key = format!("net/ipv4/neigh/lb0/{key}");
        pair.balancer.sysctl(&key, value).expect("a sysctl");
    }
    let kernel = pair.kernel();
    kernel.watch(&[addr("10.1.0.2")]);
    until(&kernel, |hops| mac_of(hops, "10.1.0.2") == Some(pair.mac()));
    ip(&pair.neighbour, "link set rs0 address 02:00:00:00:00:99");
    until(&kernel, |hops| {
        mac_of(hops, "10.1.0.2") == Some("02:00:00:00:00:99".into())
    });
}

#[test]
fn a_flood_of_changes_ends_in_the_kernels_state() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    let kernel = pair.kernel();
    let mut batch = String::new();
    for n in 0..20_000_u32 {
        let (a, b) = (n / 256, n % 256);
        writeln!(
            batch,
            "neigh replace 10.1.{a}.{b} lladdr 02:00:00:00:{a:02x}:{b:02x} dev lb0 nud permanent"
        )
        .expect("a string grows");
        writeln!(batch, "route add 172.{}.{b}.0/24 via 10.1.0.2", a % 128).expect("a string grows");
        writeln!(batch, "route del 172.{}.{b}.0/24", a % 128).expect("a string grows");
    }
    batch += "route add 192.0.2.0/24 via 10.1.78.31 dev lb0 onlink\n";
    let scratch = lb_testkit::netns::Scratch::new().expect("a folder");
    let file = scratch.write("batch", batch).expect("a file");
    ip(&pair.balancer, &format!("-batch {}", file.display()));
    let hops = until(&kernel, |hops| mac_of(hops, "192.0.2.1").is_some());
    assert_eq!(mac_of(&hops, "192.0.2.1"), Some("02:00:00:00:4e:1f".into()));
    assert_eq!(hops.resolve(addr("172.1.1.1")), Resolution::Unreachable);
}

#[test]
fn an_added_address_goes_with_its_guard_and_is_known_again_after_a_crash() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    let kernel = pair.kernel();
    for (vip, shown) in [
        ("10.1.0.100", "10.1.0.100/32"),
        ("2001:db8::100", "2001:db8::100/128"),
    ] {
        let prefix = vip.strip_suffix("100").expect("both end so");
        let add = || AddedAddress::new("lb0", addr(vip)).expect("lb0 exists");
        let listed = || ip(&pair.balancer, "addr show dev lb0");
        let added = pair.balancer.run(add);
        assert_eq!(added.origin(), Origin::Added);
        assert!(listed().contains(shown), "{}", listed());
        let tentative = ip(&pair.balancer, "addr show dev lb0 tentative");
        assert!(!tentative.contains(vip), "{tentative}");
        until(&kernel, |hops| hops.is_local(addr(vip)));
        // What the machine itself says to its neighbour is said in its own name.
        let way = ip(&pair.balancer, &format!("route get {prefix}2"));
        assert!(way.contains(&format!("src {prefix}1 ")), "{way}");
        drop(added);
        assert!(!listed().contains(vip), "{}", listed());
        until(&kernel, |hops| !hops.is_local(addr(vip)));

        // What a crash leaves behind.
        std::mem::forget(pair.balancer.run(add));
        let adopted = pair.balancer.run(add);
        assert_eq!(adopted.origin(), Origin::Adopted);
        drop(adopted);
        assert!(!listed().contains(vip), "{}", listed());

        ip(&pair.balancer, &format!("addr add {vip}/24 dev lb0"));
        let foreign = pair.balancer.run(add);
        assert_eq!(foreign.origin(), Origin::Foreign);
        drop(foreign);
        assert!(listed().contains(vip), "{}", listed());
    }
}

#[test]
fn an_address_for_a_missing_interface_is_refused() {
    if !available() {
        return;
    }
    let pair = Pair::new();
    let refused = pair
        .balancer
        .run(|| AddedAddress::new("eth9", addr("10.1.0.100")))
        .err()
        .expect("there is no eth9")
        .to_string();
    assert!(
        refused.starts_with("interface eth9 does not exist"),
        "{refused}"
    );
}
