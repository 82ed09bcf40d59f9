//! What can be wrong with a service's local addresses, and with how its servers are told of clients.

use lb_model::{Addr, ClientAddress, Protocol, Replies, ServiceId};

use super::Planner;
use super::service::is_host;
use crate::ServiceConfig;

impl Planner<'_> {
    pub(super) fn local_addresses(&mut self, path: &str, service: &ServiceConfig) {
        let own_modes = service.servers.iter().filter_map(|s| s.mode.as_ref());
        let modes: Option<Vec<_>> = own_modes
            .chain([&service.mode])
            .map(|name| self.registry.mode(name))
            .collect();
        // What is said of a mode that there is not says enough.
        let Some(modes) = modes else { return };
        let using = modes
            .iter()
            .find(|(_, mode)| mode.replies() == Replies::ToLocalAddress);
        let lips = &service.local_addresses;
        match using {
            Some((_, mode)) if lips.is_empty() && !service.awaits_local_addresses => {
                let problem = format!("missing, mode {} needs at least one", mode.name());
                self.error(format!("{path}.local_addresses"), problem);
            }
            None if !lips.is_empty() => {
                let problem = format!("mode {} does not use any", service.mode);
                self.error(format!("{path}.local_addresses"), problem);
            }
            _ => {}
        }
        if let Some(asked) = service.client_address {
            self.client_address(path, service, asked, using.is_some());
        }
        for lip in service.local_interfaces.keys() {
            if !lips.contains(lip) {
                let problem = format!("{lip} is not one of the local_addresses");
                self.error(format!("{path}.local_interfaces"), problem);
            }
        }
        for (position, lip) in lips.iter().enumerate() {
            let path = format!("{path}.local_addresses[{position}]");
            if lips[..position].contains(lip) {
                self.error(path, format!("{lip} is listed twice"));
            } else {
                self.local_address(path, *lip, service);
            }
        }
    }

    fn client_address(
        &mut self,
        path: &str,
        service: &ServiceConfig,
        asked: ClientAddress,
        is_used: bool,
    ) {
        let path = format!("{path}.client_address");
        if !is_used {
            let problem = format!("\"{asked}\", but mode {} does not ask", service.mode);
            return self.error(path, problem);
        }
        // A mark may stand for both protocols.
        let ServiceId::Address(key) = service.id else {
            return;
        };
        let allowed = match key.protocol {
            Protocol::Tcp => [ClientAddress::None, ClientAddress::Toa].as_slice(),
            Protocol::Sctp => &[ClientAddress::None],
            Protocol::Udp => &[
                ClientAddress::None,
                ClientAddress::Uoa,
                ClientAddress::ProxyV2,
            ],
        };
        if !allowed.contains(&asked) {
            let names: Vec<String> = allowed.iter().map(|one| format!("\"{one}\"")).collect();
            let problem = format!(
                "\"{asked}\", allowed for protocol \"{}\": {}",
                key.protocol,
                names.join(", ")
            );
            self.error(path, problem);
        }
    }

    fn local_address(&mut self, path: String, lip: Addr, service: &ServiceConfig) {
        let is_v4 = service.id.is_v4();
        if !is_host(lip) {
            let problem = format!("{lip}, allowed: the unicast address of a host");
            self.error(path, problem);
        } else if lip.is_v4() != is_v4 {
            let family = if is_v4 { "IPv4" } else { "IPv6" };
            let problem = format!("{lip}, allowed: {family} addresses, like the service's");
            self.error(path, problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use lb_model::{ClientAddress, Protocol};

    use crate::plan::plan;
    use crate::{Config, ConfigError, Registry, ServiceConfig};

    fn service(vip: &str, mode: &str, lips: &[&str]) -> ServiceConfig {
        let service = ServiceConfig::new(vip.parse().expect("valid"), Protocol::Tcp, "rr", mode);
        let lip = |text: &&str| text.parse::<IpAddr>().expect("valid").into();
        lips.iter()
            .fold(service, |s, text| s.with_local_address(lip(text)))
    }

    #[test]
    fn they_are_hosts_of_the_services_family_where_they_are_used() {
        let mixed = ["10.1.0.2", "2001:db8::2", "10.1.0.2", "224.0.0.1"];
        let mut config = Config {
            services: vec![
                service("10.0.0.100:80", "fnat", &["10.1.0.2", "10.1.0.3"]),
                service("10.0.0.100:81", "fnat", &[]),
                service("10.0.0.100:82", "nat", &["10.1.0.2"]),
                service("10.0.0.100:83", "fnat", &mixed),
                service("[2001:db8::100]:80", "fnat", &["2001:db8::2"]),
                service("10.0.0.100:84", "nat", &[]),
                service("10.0.0.100:85", "nat", &[]),
            ],
            ..Config::default()
        };
        let elsewhere = lb_model::Addr::v4([10, 1, 0, 2]);
        config.services[5].local_interfaces = [(elsewhere, "eth0".into())].into();
        config.services[6] = config.services[6]
            .clone()
            .with_server("10.1.0.11:80".parse().expect("valid"), 1);
        config.services[6].servers[0].mode = Some("fnat".into());
        let errors = plan(&config, &Registry::builtin()).err();
        let errors: Vec<String> = errors
            .unwrap_or_default()
            .iter()
            .map(ConfigError::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "service[1].local_addresses: missing, mode fnat needs at least one",
                "service[2].local_addresses: mode nat does not use any",
                "service[3].local_addresses[1]: 2001:db8::2, allowed: IPv4 addresses, like the service's",
                "service[3].local_addresses[2]: 10.1.0.2 is listed twice",
                "service[3].local_addresses[3]: 224.0.0.1, allowed: the unicast address of a host",
                "service[5].local_interfaces: 10.1.0.2 is not one of the local_addresses",
                "service[6].local_addresses: missing, mode fnat needs at least one",
            ]
        );
    }

    #[test]
    fn clients_are_told_of_in_a_way_that_the_mode_asks_for_and_the_protocol_has() {
        let asking = |mode, protocol, asked| {
            let vip = "10.0.0.100:80".parse().expect("valid");
            let mut service = ServiceConfig::new(vip, protocol, "rr", mode);
            if mode == "fnat" {
                service.local_addresses = vec![lb_model::Addr::v4([10, 1, 0, 2])];
            }
            service.client_address = Some(asked);
            plan(
                &Config::default().with_service(service),
                &Registry::builtin(),
            )
            .err()
            .map(|errors| errors[0].to_string())
        };
        use ClientAddress::{None, ProxyV2, Toa, Uoa};
        let refused = |problem: &str| Some(format!("service[0].client_address: {problem}"));
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        for asked in [None, Toa] {
            assert_eq!(asking("fnat", tcp, asked), Option::None);
        }
        for asked in [None, Uoa, ProxyV2] {
            assert_eq!(asking("fnat", udp, asked), Option::None);
        }
        assert_eq!(
            asking("fnat", tcp, ProxyV2),
            refused("\"proxy-v2\", allowed for protocol \"tcp\": \"none\", \"toa\"")
        );
        assert_eq!(
            asking("fnat", udp, Toa),
            refused("\"toa\", allowed for protocol \"udp\": \"none\", \"uoa\", \"proxy-v2\"")
        );
        assert_eq!(
            asking("enat", tcp, Toa),
            refused("\"toa\", but mode enat does not ask")
        );
    }
}
