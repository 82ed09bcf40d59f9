//! What the balancer answers to a listing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use lb_model::{ConnState, Traffic};

use crate::{ServerSettings, ServiceId, ServiceSettings, Transport};

/// A service with its servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceRow {
    /// What names it.
    pub id: ServiceId,
    /// How it is set.
    pub settings: ServiceSettings,
    /// Since it was made or zeroed.
    pub totals: Traffic,
    /// In the last seconds.
    pub rates: Traffic,
    /// In IPVS's order: the one added last comes first.
    pub servers: Vec<ServerRow>,
    /// In the order in which they were added.
    pub local_addresses: Vec<LocalAddressRow>,
}

/// A server in one service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerRow {
    /// How it is set.
    pub settings: ServerSettings,
    /// Conns in an active state.
    pub active: u32,
    /// All other conns.
    pub inactive: u32,
    /// Clients that persistence keeps with it.
    pub persistent: u32,
    /// Since it was added or zeroed.
    pub totals: Traffic,
    /// In the last seconds.
    pub rates: Traffic,
}

/// A local address of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAddressRow {
    /// LIP.
    pub address: IpAddr,
    /// Where it belongs, if told.
    pub interface: Option<String>,
    /// It is no one's choice, but the VIP of a service whose mode sends from there: shown, and not saved.
    pub of_mode: bool,
    /// How often all its ports towards a server were taken.
    pub conflicts: u64,
    /// Conns that use it.
    pub conns: u32,
}

/// A conn, or the template by which persistence remembers a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnRow<'a> {
    /// What it carries; none for the template of a mark service.
    pub transport: Option<Transport>,
    /// Seconds until it expires if nothing comes.
    pub expires_s: u32,
    /// Its state.
    pub state: EntryState,
    /// CIP:cport; port 0 in a template.
    pub client: SocketAddr,
    /// VIP:vport; the mark as an address in the template of a mark service.
    pub virtual_service: SocketAddr,
    /// RIP:rport.
    pub server: SocketAddr,
    /// The persistence engine's name and data, if it has one.
    pub engine: Option<(&'a str, &'a str)>,
}

/// What a listing says of a conn's or a template's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryState {
    /// A conn's.
    Conn(ConnState),
    /// A template's: whether a conn that it made was ever answered (kernel `ip_vs_state_name`).
    Template {
        /// Whether one was.
        assured: bool,
    },
}

impl fmt::Display for EntryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryState::Conn(state) => state.fmt(f),
            EntryState::Template { assured: true } => f.pad("ASSURED"),
            EntryState::Template { assured: false } => f.pad("NONE"),
        }
    }
}
