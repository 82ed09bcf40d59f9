//! What one line of ipvsadm asks for.

use std::net::{IpAddr, SocketAddr};

use crate::listing::TableFormat;
use crate::{Daemon, Role, ServerSettings, ServiceId, ServiceSettings};

/// One command with everything it needs; all that can be known to be wrong without the balancer is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `-A`
    AddService(ServiceId, ServiceSettings),
    /// `-E`
    EditService(ServiceId, ServiceSettings),
    /// `-D`
    DeleteService(ServiceId),
    /// `-C`
    Flush,
    /// `-a`
    AddServer(ServiceId, ServerSettings),
    /// `-e`
    EditServer(ServiceId, ServerSettings),
    /// `-d`
    DeleteServer(ServiceId, SocketAddr),
    /// `-L`, `-l` or nothing at all
    List(Listing),
    /// `-Z`, of one service or of all
    Zero(Option<ServiceId>),
    /// `-S`
    Save(Save),
    /// `-R`
    Restore,
    /// `--set`
    SetTimeouts(Timeouts),
    /// `--start-daemon`
    StartDaemon(Daemon),
    /// `--stop-daemon`
    StopDaemon {
        /// Which.
        role: Role,
        /// `--syncid`
        sync_id: u8,
    },
    /// `-P`, DPVS's
    AddLocalAddress {
        /// The service that may use it.
        service: ServiceId,
        /// LIP.
        address: IpAddr,
        /// Where it belongs, if told.
        interface: Option<String>,
    },
    /// `-Q`, DPVS's
    DeleteLocalAddress {
        /// The service that used it.
        service: ServiceId,
        /// LIP.
        address: IpAddr,
    },
    /// `-G`, DPVS's, of one service or of all
    ListLocalAddresses(Option<ServiceId>),
    /// `-h`
    Help,
    /// `-v`
    Version,
}

/// What to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listing {
    /// All services with their servers.
    Table(TableFormat),
    /// One of them.
    Service(ServiceId, TableFormat),
    /// `-c`
    Conns {
        /// `-n`
        numeric: bool,
        /// `--persistent-conn`: with the persistence engine's data.
        engine: bool,
    },
    /// `--timeout`
    Timeouts,
    /// `--daemon`
    Daemons,
}

/// How to save.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Save {
    /// `-n`: ports as numbers.
    pub numeric: bool,
    /// `--complete`, ours: also what ipvsadm loses, so that a restore brings back all of it.
    pub complete: bool,
}

/// How long conns live without a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Established TCP; 0 in `--set` leaves it as it is.
    pub tcp_s: u32,
    /// TCP after a FIN; the same.
    pub tcp_fin_s: u32,
    /// UDP; the same.
    pub udp_s: u32,
}
