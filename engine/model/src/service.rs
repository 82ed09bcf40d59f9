//! Virtual services.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Addr, ClientAddress, Dests, Endpoint, FlowKey, Protocol, SchedulerFlags, SchedulerKind,
};

/// VIP:vport and protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServiceKey {
    /// VIP:vport; port 0 stands for every port that has no service of its own.
    pub vip: Endpoint,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.vip)
    }
}

/// What names a virtual service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum ServiceId {
    /// Packets to an address.
    Address(ServiceKey),
    /// Packets with a mark (ipvsadm `-f`).
    Mark(Mark),
}

impl From<ServiceKey> for ServiceId {
    fn from(key: ServiceKey) -> ServiceId {
        ServiceId::Address(key)
    }
}

impl ServiceId {
    /// The family of its clients.
    pub fn is_v4(&self) -> bool {
        match self {
            ServiceId::Address(key) => key.vip.addr.is_v4(),
            ServiceId::Mark(mark) => !mark.v6,
        }
    }

    /// Its port; 0 for every port, and for a mark.
    pub fn port(&self) -> u16 {
        match self {
            ServiceId::Address(key) => key.vip.port,
            ServiceId::Mark(_) => 0,
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceId::Address(key) => key.fmt(f),
            ServiceId::Mark(Mark { mark, v6: false }) => write!(f, "mark {mark}"),
            ServiceId::Mark(Mark { mark, v6: true }) => write!(f, "mark {mark} IPv6"),
        }
    }
}

/// A mark, for one address family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Mark {
    /// The mark, not 0.
    pub mark: u32,
    /// Whether it is that of IPv6 packets.
    pub v6: bool,
}

impl Mark {
    /// The mark of packets of `flow`'s family.
    pub fn of(mark: u32, flow: &FlowKey) -> Mark {
        Mark {
            mark,
            v6: !flow.destination.addr.is_v4(),
        }
    }
}

/// How long, and as how large a network, clients stay with their server (ipvsadm `-p` and `-M`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persistence {
    /// After the last new conn.
    pub timeout: Duration,
    /// Clients whose addresses agree in these bits count as one; IPVS takes any bits, not only prefixes.
    pub netmask: Addr,
}

impl Persistence {
    /// What stands for the client.
    pub fn network_of(&self, client: Addr) -> Addr {
        client.under(self.netmask)
    }
}

/// What of a virtual service can be edited.
#[derive(Clone)]
pub struct ServiceSettings {
    /// Its scheduler's name.
    pub scheduler_name: String,
    /// What makes its schedulers.
    pub scheduler: Arc<dyn SchedulerKind>,
    /// The same object as long as its schedulers keep their state: also when they are told something else, but not when
    /// another scheduler was there in between.
    pub scheduler_life: Arc<()>,
    /// ipvsadm's `-b`.
    pub scheduler_flags: SchedulerFlags,
    /// Whether and how clients stay with their server.
    pub persistence: Option<Persistence>,
    /// ipvsadm's `--pe`, which is kept and listed; clients are told apart by their addresses all the same, as the kernel
    /// does where a packet does not say what its engine looks for.
    pub persistence_engine: Option<String>,
    /// Whether each UDP datagram is scheduled for itself (ipvsadm `-o`).
    pub one_packet: bool,
    /// LIPs: the sources of packets to servers in FNAT, all of the service's family.
    pub local_addresses: Arc<[Addr]>,
    /// How servers that do not see their clients are told of them; `None`: as their mode does it.
    pub client_address: Option<ClientAddress>,
}

/// A virtual service: its name, its settings, its real servers.
#[derive(Clone)]
pub struct VirtualService {
    id: ServiceId,
    settings: ServiceSettings,
    dests: Arc<Dests>,
}

impl VirtualService {
    /// A service.
    ///
    /// Whether two services [have the same dests](Dests::are_those_of) tells their schedulers whether a server was added,
    /// removed or edited.
    pub fn new(id: ServiceId, settings: ServiceSettings, dests: Arc<Dests>) -> VirtualService {
        VirtualService {
            id,
            settings,
            dests,
        }
    }

    /// What names it.
    pub fn id(&self) -> ServiceId {
        self.id
    }

    /// VIP:vport and protocol, if that is what names it.
    pub fn key(&self) -> Option<ServiceKey> {
        match self.id {
            ServiceId::Address(key) => Some(key),
            ServiceId::Mark(_) => None,
        }
    }

    /// Its port; 0 for every port, and for a mark.
    pub fn port(&self) -> u16 {
        self.id.port()
    }

    /// Whether packets to this port are for it. A service of every port takes only clients that stay with their server
    /// (kernel `ip_vs_schedule`).
    pub fn takes_port(&self, asked: u16) -> bool {
        let is_named = self.key().is_none_or(|key| key.vip.port == asked);
        is_named || self.settings.persistence.is_some()
    }

    /// Where `server` gets packets that were sent to port `asked`: at its own port if it has one, but at `asked` if its
    /// client stays with it for other ports than the service's too (kernel `ip_vs_schedule`, `ip_vs_sched_persist`).
    pub fn server_end(&self, server: Endpoint, asked: u16) -> Endpoint {
        let is_mapped = self.settings.persistence.is_none() || asked == self.port();
        match server.port {
            port if port != 0 && is_mapped => server,
            _ => Endpoint::new(server.addr, asked),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Its real servers.
    pub fn dests(&self) -> &Arc<Dests> {
        &self.dests
    }
}

impl fmt::Debug for VirtualService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {:?}",
            self.id,
            self.settings.scheduler_name,
            &self.dests[..]
        )
    }
}
