//! From what is in force to a file that says the same.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::Duration;

use lb::{
    Addr, Config, EngineConfig, IpvsSettings, MarkRule, NetworkConfig, Persistence, SchedulerFlags,
    ServerConfig, ServiceConfig, ServiceId, Thresholds, Timeouts, Workers,
};
use lb_checks::ServiceHealth;

use crate::duration::SETTABLE;
use crate::lines::Lines;
use crate::{Control, Metrics, Settings, health, tunnel};

/// The file that [`parse`](crate::parse) reads as `settings`. What has its default is left out.
pub fn write(settings: &Settings) -> String {
    let Settings {
        balancer,
        health,
        control,
        metrics: Metrics { address },
    } = settings;
    let Config {
        engine,
        services,
        ipvs,
        timeouts,
        marks,
        network,
    } = balancer;
    let mut file = File::default();
    file.table("[engine]");
    let interfaces = engine.interfaces.iter().map(|name| quoted(name));
    file.key("interfaces", list(interfaces));
    file.key(
        "workers",
        match engine.workers {
            Workers::Auto => quoted("auto"),
            Workers::Count(count) => count.to_string(),
        },
    );
    file.key("capacity", engine.capacity);
    let (first, last) = (engine.local_ports.start(), engine.local_ports.end());
    if engine.local_ports != EngineConfig::default().local_ports {
        file.key("local_ports", quoted(&format!("{first}-{last}")));
    }
    file.key_unless(
        EngineConfig::default().busy_poll,
        "busy_poll",
        engine.busy_poll,
    );
    if !engine.peers.is_empty() {
        let peers = engine.peers.iter().map(|mac| quoted(&mac.to_string()));
        file.key("peers", list(peers));
    }
    let Control { socket } = control;
    if let Some(socket) = socket {
        file.table("[control]");
        file.key("socket", quoted(&socket.display().to_string()));
    }
    if let Some(address) = address {
        file.table("[metrics]");
        file.key("address", quoted(&address.to_string()));
    }
    file.timeouts(timeouts);
    file.ipvs(ipvs);
    for mark in marks {
        file.mark(mark);
    }
    for service in services {
        file.service(service, health.get(&service.id));
    }
    file.network(network);
    file.text
}

#[derive(Default)]
struct File {
    text: String,
}

impl File {
    fn table(&mut self, header: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(header);
        self.text.push('\n');
    }

    fn key(&mut self, key: &str, value: impl Display) {
        // A string takes all that is written to it.
        let _ = writeln!(self.text, "{key} = {value}");
    }

    fn key_unless<T: PartialEq + Display>(&mut self, default: T, key: &str, value: T) {
        if value != default {
            self.key(key, value);
        }
    }

    fn timeouts(&mut self, timeouts: &Timeouts) {
        let usual = Timeouts::default();
        let changed = SETTABLE.map(|(key, state)| (key, timeouts.of(state), usual.of(state)));
        if changed.iter().any(|(_, timeout, usual)| timeout != usual) {
            self.table("[timeouts]");
        }
        for (key, timeout, usual) in changed {
            if timeout != usual {
                self.key(key, seconds(timeout));
            }
        }
    }

    fn ipvs(&mut self, ipvs: &IpvsSettings) {
        let usual = IpvsSettings::default();
        if *ipvs == usual {
            return;
        }
        let IpvsSettings {
            conn_reuse_mode,
            expire_nodest_conn,
            expire_quiescent_template,
            secure_tcp,
            sloppy_tcp,
            pmtu_disc,
            nat_icmp_send,
            icmp_msgs_per_sec,
            icmp_msgs_burst,
            lblc_expiration,
            lblcr_expiration,
        } = *ipvs;
        self.table("[ipvs]");
        self.key_unless(usual.conn_reuse_mode, "conn_reuse_mode", conn_reuse_mode);
        for (key, on) in [
            ("expire_nodest_conn", expire_nodest_conn),
            ("expire_quiescent_template", expire_quiescent_template),
            ("sloppy_tcp", sloppy_tcp),
            ("nat_icmp_send", nat_icmp_send),
        ] {
            self.key_unless(0, key, u8::from(on));
        }
        self.key_unless(1, "pmtu_disc", u8::from(pmtu_disc));
        for (key, messages, usual) in [
            (
                "icmp_msgs_per_sec",
                icmp_msgs_per_sec,
                usual.icmp_msgs_per_sec,
            ),
            ("icmp_msgs_burst", icmp_msgs_burst, usual.icmp_msgs_burst),
        ] {
            self.key_unless(usual, key, messages);
        }
        self.key_unless(0, "secure_tcp", if secure_tcp { 3 } else { 0 });
        for (key, expiration, usual) in [
            ("lblc_expiration", lblc_expiration, usual.lblc_expiration),
            ("lblcr_expiration", lblcr_expiration, usual.lblcr_expiration),
        ] {
            self.key_unless(usual.as_secs(), key, expiration.as_secs());
        }
    }

    fn mark(&mut self, rule: &MarkRule) {
        self.table("[[mark]]");
        self.key("mark", rule.mark);
        self.key("destination", quoted(&rule.destination.to_string()));
        if let Some(protocol) = rule.protocol {
            self.key("protocol", quoted(&protocol.to_string()));
        }
        if let Some(ports) = &rule.ports {
            self.key(
                "ports",
                quoted(&format!("{}-{}", ports.start(), ports.end())),
            );
        }
    }

    fn service(&mut self, service: &ServiceConfig, health: Option<&ServiceHealth>) {
        let ServiceConfig {
            id,
            scheduler,
            scheduler_flags,
            persistence,
            one_packet,
            mode,
            vip_interface,
            local_addresses,
            awaits_local_addresses,
            local_interfaces,
            client_address,
            servers,
        } = service;
        self.table("[[service]]");
        match id {
            ServiceId::Address(key) => {
                self.key("vip", quoted(&key.vip.to_string()));
                self.key("protocol", quoted(&key.protocol.to_string()));
            }
            ServiceId::Mark(mark) => {
                self.key("mark", mark.mark);
                self.key_unless(4, "family", if mark.v6 { 6 } else { 4 });
            }
        }
        self.key("scheduler", quoted(scheduler));
        if !scheduler_flags.is_empty() {
            let names = flag_names(*scheduler_flags, scheduler);
            self.key("scheduler_flags", list(names.into_iter().map(quoted)));
        }
        if let Some(Persistence { timeout, netmask }) = persistence {
            let timeout = seconds(*timeout);
            let netmask = shown_netmask(*netmask);
            let table = format!("{{ timeout = {timeout}{netmask} }}");
            self.key("persistence", table);
        }
        self.key_unless(false, "one_packet", *one_packet);
        self.key("mode", quoted(mode));
        if let Some(interface) = vip_interface {
            self.key("vip_interface", quoted(interface));
        }
        if !local_addresses.is_empty() || *awaits_local_addresses {
            self.local_addresses(local_addresses, local_interfaces);
        }
        if let Some(client_address) = client_address {
            self.key("client_address", quoted(&client_address.to_string()));
        }
        for server in servers {
            self.server(server);
            if let Some(health) = health {
                self.tables(health::written_of_server(health, server.rip));
            }
        }
        if let Some(health) = health {
            self.tables(health::written(health, service));
        }
    }

    /// With one interface for all if they are all put on one.
    fn local_addresses(&mut self, addresses: &[Addr], interfaces: &BTreeMap<Addr, String>) {
        let of_first = addresses.first().and_then(|addr| interfaces.get(addr));
        let mut all = addresses.iter();
        let of_all = of_first.filter(|first| all.all(|addr| interfaces.get(addr) == Some(first)));
        let shown = addresses.iter().map(|addr| match interfaces.get(addr) {
            Some(own) if of_all.is_none() => quoted(&format!("{addr} dev {own}")),
            _ => quoted(&addr.to_string()),
        });
        self.key("local_addresses", list(shown));
        if let Some(interface) = of_all {
            self.key("local_interface", quoted(interface));
        }
    }

    fn tables(&mut self, tables: Vec<(String, Lines)>) {
        for (header, lines) in tables {
            self.table(&header);
            for (key, value) in lines.0 {
                self.key(key, value);
            }
        }
    }

    fn server(&mut self, server: &ServerConfig) {
        let ServerConfig {
            rip,
            weight,
            mode,
            thresholds: Thresholds { upper, lower },
            tunnel,
            drained,
            held: _,
        } = server;
        self.table("[[service.server]]");
        self.key("rip", quoted(&rip.to_string()));
        self.key("weight", weight);
        if let Some(mode) = mode {
            self.key("mode", quoted(mode));
        }
        if let Some(tunnel) = tunnel::written(*tunnel) {
            self.key("tunnel", tunnel);
        }
        self.key_unless(0, "upper_threshold", *upper);
        self.key_unless(0, "lower_threshold", *lower);
        self.key_unless(false, "drained", *drained);
    }

    fn network(&mut self, network: &NetworkConfig) {
        for interface in &network.interfaces {
            self.table("[[interface]]");
            self.key("name", quoted(&interface.name));
            self.key("mac", quoted(&interface.mac.to_string()));
            self.key("mtu", interface.mtu);
            let addresses = interface.addresses.iter();
            let addresses = addresses.map(|(addr, len)| quoted(&format!("{addr}/{len}")));
            self.key("addresses", list(addresses));
        }
        for route in &network.routes {
            self.table("[[route]]");
            self.key("destination", quoted(&route.destination.to_string()));
            if let Some(via) = route.via {
                self.key("via", quoted(&via.to_string()));
            }
            self.key("interface", quoted(&route.interface));
        }
        for neighbour in &network.neighbours {
            self.table("[[neighbour]]");
            self.key("ip", quoted(&neighbour.ip.to_string()));
            self.key("mac", quoted(&neighbour.mac.to_string()));
            self.key("interface", quoted(&neighbour.interface));
        }
    }
}

/// The names of flags: the scheduler's own, or those that any takes.
fn flag_names(flags: SchedulerFlags, scheduler: &str) -> Vec<&'static str> {
    let mut left = flags;
    let (own, general): (Vec<_>, Vec<_>) = SchedulerFlags::NAMES
        .iter()
        .filter(|(_, owner, _)| owner.is_none_or(|owner| owner == scheduler))
        .partition(|(_, owner, _)| owner.is_some());
    let mut names = Vec::new();
    for (name, _, flag) in own.into_iter().chain(general) {
        if left.contains(flag) {
            names.push(name);
            left = left.without(flag);
        }
    }
    names
}

/// With the comma before it; nothing for the whole address.
fn shown_netmask(netmask: Addr) -> String {
    let (prefix, is_prefix) = match netmask.as_v4() {
        Some(mask) => {
            let mask = u32::from_be_bytes(mask);
            (
                mask.leading_ones(),
                mask.leading_ones() + mask.trailing_zeros() == 32,
            )
        }
        None => {
            let mask = u128::from_be_bytes(*netmask.octets());
            (mask.leading_ones(), true)
        }
    };
    match prefix {
        _ if prefix == u32::from(netmask.bits()) => String::new(),
        1.. if is_prefix => format!(", netmask = {prefix}"),
        _ => format!(", netmask = \"{netmask}\""),
    }
}

fn seconds(duration: Duration) -> String {
    format!("\"{}s\"", duration.as_secs())
}

pub fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(", "))
}

/// A basic string of TOML.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                // A string takes all that is written to it.
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use lb::{Endpoint, Mark, Prefix, Protocol, ServiceKey, Tunnel, TunnelChecksum};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::parse;

    fn flags() -> impl Strategy<Value = SchedulerFlags> {
        vec(prop::sample::select(&SchedulerFlags::NAMES[4..]), 0..3).prop_map(|names| {
            let all = SchedulerFlags::default();
            names.iter().fold(all, |all, (.., flag)| all.union(*flag))
        })
    }

    fn duration() -> impl Strategy<Value = Duration> {
        (1..100_000_u64).prop_map(Duration::from_secs)
    }

    fn netmask(v6: bool) -> BoxedStrategy<Addr> {
        match v6 {
            true => (1..=128_u8)
                .prop_map(|len| Addr::v6([0xff; 16]).masked(len))
                .boxed(),
            false => any::<u32>()
                .prop_map(|mask| Addr::from(Ipv4Addr::from(mask)))
                .boxed(),
        }
    }

    prop_compose! {
        fn server(v6: bool, port: u16)(
            last in 1..200_u8, weight in 0..=65_535_u32, drained in any::<bool>(), upper in 0..9_u32, lower in 0..9_u32,
            mode in option::of(prop::sample::select(&["dr", "tun"][..])),
            tunnel in option::of(prop::sample::select(&[
                Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Remote },
                Tunnel::Gre { checksum: TunnelChecksum::Present },
            ][..])),
        ) -> ServerConfig {
            let addr = match v6 {
                true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
                false => Ipv4Addr::new(10, 0, 0, last).into(),
            };
            let mode = mode.map(str::to_owned);
            let thresholds = Thresholds { upper: upper.max(lower), lower };
            let tunnel = tunnel.filter(|_| mode.as_deref() == Some("tun")).unwrap_or_default();
            ServerConfig { rip: Endpoint::new(addr, port), weight, mode, thresholds, tunnel, drained, held: false }
        }
    }

    fn service() -> impl Strategy<Value = ServiceConfig> {
        (any::<bool>(), any::<bool>(), 1..=u16::MAX)
            .prop_flat_map(|(v6, marked, number)| service_of(v6, marked, number))
    }

    prop_compose! {
        fn service_of(v6: bool, marked: bool, number: u16)(
            udp in any::<bool>(), one_packet in any::<bool>(),
            scheduler in prop::sample::select(&["rr", "sh", "mh"][..]), scheduler_flags in flags(),
            persistence in option::of((duration(), netmask(v6))),
            vip_interface in option::of("[a-z\"\\\\\u{7}]{1,9}"),
            mut servers in vec(server(v6, if marked { 0 } else { number }), 0..5),
        ) -> ServiceConfig {
            let vip = match v6 {
                true => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(),
                false => Ipv4Addr::new(10, 1, 0, 1).into(),
            };
            let protocol = if udp || one_packet { Protocol::Udp } else { Protocol::Tcp };
            let id = match marked {
                true => ServiceId::Mark(Mark { mark: number.into(), v6 }),
                false => ServiceKey { vip: Endpoint::new(vip, number), protocol }.into(),
            };
            servers.sort_by_key(|server| server.rip);
            servers.dedup_by_key(|server| server.rip);
            ServiceConfig {
                scheduler_flags,
                persistence: persistence.map(|(timeout, netmask)| Persistence { timeout, netmask }),
                one_packet,
                vip_interface: vip_interface.filter(|_| !marked),
                servers,
                ..ServiceConfig::of(id, scheduler, "nat")
            }
        }
    }

    prop_compose! {
        fn settings()(
            mut services in vec(service(), 0..5),
            timeouts in vec(duration(), 3), sloppy_tcp in any::<bool>(), conn_reuse_mode in 0..=3_u8,
            lblc_expiration in duration(),
            marks in vec((1..9_u32, 0..=32_u8, any::<bool>(), option::of((0..80_u16, 80..99_u16)))
                .prop_map(|(mark, len, tcp, ports): (u32, u8, bool, Option<(u16, u16)>)| MarkRule {
                    mark,
                    destination: Prefix::new(Ipv4Addr::new(198, 51, 100, 1).into(), len),
                    protocol: tcp.then_some(Protocol::Tcp),
                    ports: ports.map(|(first, last)| first..=last),
                }), 0..3),
            socket in option::of("/[a-z ]{1,9}"), address in option::of(any::<(std::net::IpAddr, u16)>().prop_map(std::net::SocketAddr::from)),
        ) -> Settings {
            services.sort_by_key(|service| service.id);
            services.dedup_by_key(|service| service.id);
            let mut balancer = Config { services, marks, ..Config::default() };
            balancer.ipvs.sloppy_tcp = sloppy_tcp;
            balancer.ipvs.pmtu_disc = sloppy_tcp;
            balancer.ipvs.icmp_msgs_burst = u32::from(conn_reuse_mode);
            balancer.ipvs.conn_reuse_mode = conn_reuse_mode;
            balancer.ipvs.lblc_expiration = lblc_expiration;
            for ((_, state), timeout) in SETTABLE.into_iter().zip(timeouts) {
                balancer.timeouts = balancer.timeouts.with(state, timeout);
            }
            Settings {
                health: Default::default(),
                balancer,
                control: Control { socket: socket.map(Into::into) },
                metrics: Metrics { address },
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(settings in settings()) {
            let text = write(&settings);
            match parse("written".into(), text.clone()) {
                Ok(read) => prop_assert_eq!(read, settings, "{}", text),
                Err(refusal) => prop_assert!(false, "{refusal}"),
            }
        }
    }

    #[test]
    fn a_network_is_written_too() {
        let text = "[engine]\ninterfaces = [\"eth0\"]\nworkers = 2\ncapacity = 7\n\n\
            [[interface]]\nname = \"eth0\"\nmac = \"02:00:00:00:00:01\"\nmtu = 1500\naddresses = [\"10.0.0.1/24\"]\n\n\
            [[route]]\ndestination = \"0.0.0.0/0\"\nvia = \"10.0.0.2\"\ninterface = \"eth0\"\n\n\
            [[neighbour]]\nip = \"10.0.0.2\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"eth0\"\n";
        let settings = parse("f".into(), text.into()).expect("a good file");
        assert_eq!(write(&settings), text);
    }

    #[test]
    fn flags_have_their_schedulers_names() {
        let all = SchedulerFlags::NAMES.iter();
        let all = all.fold(SchedulerFlags::default(), |all, (.., flag)| {
            all.union(*flag)
        });
        assert_eq!(flag_names(all, "sh"), ["sh-fallback", "sh-port", "flag-3"]);
        assert_eq!(flag_names(all, "rr"), ["flag-1", "flag-2", "flag-3"]);
    }
}
