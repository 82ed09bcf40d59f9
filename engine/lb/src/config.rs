//! A configuration as written: plain data, not yet checked.
//!
//! The daemon reads it from TOML, an embedder fills it in. `lb::Engine` turns it into a working engine
//! or says in a [`ConfigError`] which field is wrong and what is allowed there; half a configuration is never applied.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use crate::NetworkConfig;
use lb_conn::Timeouts;
use lb_model::{
    Addr, ClientAddress, Endpoint, IpvsSettings, Mac, MarkRule, Persistence, Protocol,
    SchedulerFlags, ServiceId, ServiceKey, Thresholds, Tunnel,
};

/// Everything a balancer is told.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// `[engine]`
    pub engine: EngineConfig,
    /// `[[service]]`
    pub services: Vec<ServiceConfig>,
    /// `[ipvs]`
    pub ipvs: IpvsSettings,
    /// `[timeouts]`: those that ipvsadm's `--set` changes; the others are the kernel's.
    pub timeouts: Timeouts,
    /// `[[mark]]`
    pub marks: Vec<MarkRule>,
    /// `[[interface]]`, `[[route]]`, `[[neighbour]]`
    pub network: NetworkConfig,
}

/// `[engine]`: what the engine runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// All of them receive and transmit.
    pub interfaces: Vec<String>,
    /// How many workers share the queues.
    pub workers: Workers,
    /// Conns per worker.
    pub capacity: u32,
    /// The ports of local addresses that conns may use, shared out among the workers.
    pub local_ports: RangeInclusive<u16>,
    /// Whether workers look for packets all the time rather than sleep until there are some.
    pub busy_poll: bool,
    /// MACs of other balancers that send to this machine as to one of their servers (DR): what they send to a service is
    /// not balanced again.
    pub peers: Vec<Mac>,
}

impl Config {
    /// A configuration without services, on these interfaces.
    pub fn on(interfaces: &[&str]) -> Config {
        let mut config = Config::default();
        config.engine.interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        config
    }

    /// The configuration with one more service.
    #[must_use]
    pub fn with_service(mut self, service: ServiceConfig) -> Config {
        self.services.push(service);
        self
    }
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            interfaces: Vec::new(),
            workers: Workers::Auto,
            capacity: 1_000_000,
            local_ports: 1024..=65535,
            busy_poll: false,
            peers: Vec::new(),
        }
    }
}

/// `workers = "auto"` or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per queue.
    Auto,
    /// This many.
    Count(u16),
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workers::Auto => f.write_str("auto"),
            Workers::Count(count) => count.fmt(f),
        }
    }
}

/// `[[service]]`: a virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// `vip` and `protocol`, or `mark` and `family`.
    pub id: ServiceId,
    /// A registered scheduler's name.
    pub scheduler: String,
    /// `scheduler_flags`, as ipvsadm's `-b`.
    pub scheduler_flags: SchedulerFlags,
    /// Whether and how clients stay with their server.
    pub persistence: Option<Persistence>,
    /// Whether each UDP datagram is scheduled for itself.
    pub one_packet: bool,
    /// A registered mode's name.
    pub mode: String,
    /// Put the VIP on this interface while the balancer runs; `None`: somebody else does.
    pub vip_interface: Option<String>,
    /// LIPs: the sources of packets to servers in mode `fnat`.
    pub local_addresses: Vec<Addr>,
    /// Whether there may be none in mode `fnat`: they come later, and no conn opens until then.
    pub awaits_local_addresses: bool,
    /// How servers that do not see their clients are told of them; `None`: as their mode does it.
    pub client_address: Option<ClientAddress>,
    /// Where to put LIPs while the balancer runs; those without an interface somebody else brings here.
    pub local_interfaces: BTreeMap<Addr, String>,
    /// `[[service.server]]`
    pub servers: Vec<ServerConfig>,
}

impl ServiceConfig {
    /// A service without servers, by its address.
    pub fn new(vip: Endpoint, protocol: Protocol, scheduler: &str, mode: &str) -> ServiceConfig {
        ServiceConfig::of(ServiceKey { vip, protocol }.into(), scheduler, mode)
    }

    /// A service without servers, by its address or its mark.
    pub fn of(id: ServiceId, scheduler: &str, mode: &str) -> ServiceConfig {
        ServiceConfig {
            id,
            scheduler: scheduler.to_owned(),
            scheduler_flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            mode: mode.to_owned(),
            vip_interface: None,
            local_addresses: Vec::new(),
            awaits_local_addresses: false,
            client_address: None,
            local_interfaces: BTreeMap::new(),
            servers: Vec::new(),
        }
    }

    /// The service with one more local address.
    #[must_use]
    pub fn with_local_address(mut self, lip: Addr) -> ServiceConfig {
        self.local_addresses.push(lip);
        self
    }

    /// The service with one more local address, which the balancer puts on this interface while it runs.
    #[must_use]
    pub fn with_local_address_on(mut self, lip: Addr, interface: &str) -> ServiceConfig {
        self.local_interfaces.insert(lip, interface.to_owned());
        self.with_local_address(lip)
    }

    /// The service with one more server.
    #[must_use]
    pub fn with_server(mut self, rip: Endpoint, weight: u32) -> ServiceConfig {
        self.servers.push(ServerConfig::new(rip, weight));
        self
    }
}

/// `[[service.server]]`: a real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// RIP:rport.
    pub rip: Endpoint,
    /// 0 to 65535; 0 takes no new conns.
    pub weight: u32,
    /// A registered mode's name, if it is not the service's.
    pub mode: Option<String>,
    /// `upper_threshold` and `lower_threshold`.
    pub thresholds: Thresholds,
    /// What its packets are wrapped in, in mode `tun`.
    pub tunnel: Tunnel,
    /// Whether it is to be [drained](crate::ServiceTable::drain): it keeps its weight for later and gets no new conns.
    /// `false` does not end a drain that somebody has begun.
    pub drained: bool,
    /// Whether it is to be [quiesced](crate::Limit::Quiesced) if it is new, until whoever watches over it has seen that
    /// it is well.
    pub held: bool,
}

impl ServerConfig {
    /// A server with its service's mode and no thresholds.
    pub fn new(rip: Endpoint, weight: u32) -> ServerConfig {
        ServerConfig {
            rip,
            weight,
            mode: None,
            thresholds: Thresholds::default(),
            tunnel: Tunnel::default(),
            drained: false,
            held: false,
        }
    }
}

/// A field that cannot be used, where it is, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field as a path through the TOML file, like `service[2].server[0].weight`.
    pub path: String,
    /// The value found and what is allowed, like `70000, allowed 0..=65535`.
    pub problem: String,
}

impl ConfigError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            path: path.into(),
            problem: problem.into(),
        }
    }

    /// Something at `path` that cannot change from `running` to `wanted` while the balancer runs.
    pub fn restart(path: impl Into<String>, running: &str, wanted: &str) -> ConfigError {
        let problem = format!("{wanted}, allowed without a restart: {running}, which is running");
        ConfigError::new(path, problem)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

impl std::error::Error for ConfigError {}
