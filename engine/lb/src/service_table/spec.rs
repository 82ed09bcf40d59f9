//! Services and servers as they are asked for.

use lb_model::{
    Addr, ClientAddress, Endpoint, Persistence, SchedulerFlags, ServiceId, Thresholds, Tunnel,
};

/// A virtual service as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    /// What names it.
    pub id: ServiceId,
    /// Its scheduler's name.
    pub scheduler: String,
    /// ipvsadm's `-b`.
    pub scheduler_flags: SchedulerFlags,
    /// ipvsadm's `-p` and `-M`.
    pub persistence: Option<Persistence>,
    /// ipvsadm's `--pe`; see [`ServiceSettings::persistence_engine`].
    pub persistence_engine: Option<String>,
    /// ipvsadm's `-o`.
    pub one_packet: bool,
    /// What ipvsadm's `-A` and `-E` do not set; `None`: it stays as it is.
    pub full_nat: Option<FullNatSpec>,
}

/// What a service wants of modes that put another source in place of the client's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FullNatSpec {
    /// LIPs.
    pub local_addresses: Vec<Addr>,
    /// How servers are told of their clients; `None`: as their mode does it.
    pub client_address: Option<ClientAddress>,
}

/// A real server as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSpec {
    /// RIP:rport.
    pub rip: Endpoint,
    /// Its mode's name.
    pub mode: String,
    /// Its weight.
    pub weight: u32,
    /// ipvsadm's `-x` and `-y`.
    pub thresholds: Thresholds,
    /// What its packets are wrapped in, if its mode tunnels.
    pub tunnel: Tunnel,
}
