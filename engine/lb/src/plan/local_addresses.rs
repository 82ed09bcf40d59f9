//! What can be wrong with a service's local addresses.

use lb_model::{Addr, Replies};

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
            Some((_, mode)) if lips.is_empty() => {
                let problem = format!("missing, mode {} needs at least one", mode.name());
                self.error(format!("{path}.local_addresses"), problem);
            }
            None if !lips.is_empty() => {
                let problem = format!("mode {} does not use any", service.mode);
                self.error(format!("{path}.local_addresses"), problem);
            }
            _ => {}
        }
        if lips.is_empty() && service.local_interface.is_some() {
            let problem = "there are no local_addresses to put there".into();
            self.error(format!("{path}.local_interface"), problem);
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

    use lb_model::Protocol;

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
        config.services[5].local_interface = Some("eth0".into());
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
                "service[5].local_interface: there are no local_addresses to put there",
                "service[6].local_addresses: missing, mode fnat needs at least one",
            ]
        );
    }
}
