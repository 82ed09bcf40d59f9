//! What a command needs from whoever balances.

use std::net::{IpAddr, SocketAddr};

use crate::{
    ConnRow, Daemon, Role, ServerSettings, ServiceId, ServiceRow, ServiceSettings, Timeouts,
};

/// Holds the services and does what commands ask; the kernel's part in ipvsadm's play.
pub trait Ipvs {
    /// Adds a service without servers.
    fn add_service(&mut self, id: &ServiceId, settings: &ServiceSettings) -> Result<(), Refusal>;
    /// Replaces all settings of a service; servers and conns stay.
    fn edit_service(&mut self, id: &ServiceId, settings: &ServiceSettings) -> Result<(), Refusal>;
    /// Removes a service with its servers.
    fn delete_service(&mut self, id: &ServiceId) -> Result<(), Refusal>;
    /// Removes all services.
    fn flush(&mut self) -> Result<(), Refusal>;

    /// Adds a server to a service.
    fn add_server(&mut self, id: &ServiceId, server: &ServerSettings) -> Result<(), Refusal>;
    /// Replaces all settings of a server.
    fn edit_server(&mut self, id: &ServiceId, server: &ServerSettings) -> Result<(), Refusal>;
    /// Removes a server from a service.
    fn delete_server(&mut self, id: &ServiceId, server: SocketAddr) -> Result<(), Refusal>;

    /// Lets a service use a local address.
    fn add_local_address(
        &mut self,
        id: &ServiceId,
        address: IpAddr,
        interface: Option<&str>,
    ) -> Result<(), Refusal>;
    /// Takes a local address from a service.
    fn delete_local_address(&mut self, id: &ServiceId, address: IpAddr) -> Result<(), Refusal>;

    /// Starts the counters of one service or all, with their servers, at 0.
    fn zero(&mut self, id: Option<&ServiceId>) -> Result<(), Refusal>;

    /// All services, the one added last first.
    fn services(&mut self) -> Result<Vec<ServiceRow>, Refusal>;
    /// One service.
    fn service(&mut self, id: &ServiceId) -> Result<ServiceRow, Refusal>;
    /// Hands all conns to `each`, in any order, until that says stop.
    fn conns(&mut self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next) -> Result<(), Refusal>;
    /// How many slots the conn table has, for the first line of listings.
    fn table_size(&mut self) -> Result<u64, Refusal>;

    /// The time-outs.
    fn timeouts(&mut self) -> Result<Timeouts, Refusal>;
    /// Sets those that are not 0.
    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Refusal>;

    /// Starts a synchronisation daemon.
    fn start_daemon(&mut self, daemon: &Daemon) -> Result<(), Refusal>;
    /// Stops one.
    fn stop_daemon(&mut self, role: Role, sync_id: u8) -> Result<(), Refusal>;
    /// Those that run, the master first.
    fn daemons(&mut self) -> Result<Vec<Daemon>, Refusal>;
}

/// Whether more rows are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Go on.
    More,
    /// The output has gone away.
    Stop,
}

/// Why a command was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// There is such a service already.
    ServiceExists,
    /// There is no such service.
    NoSuchService,
    /// The service has such a server already.
    ServerExists,
    /// The service has no such server.
    NoSuchServer,
    /// There is no scheduler or no persistence engine of this name.
    NoScheduler,
    /// Thresholds the wrong way round, or a weight too large.
    OutOfRange,
    /// A server's address is none that packets can be sent to, or something else that makes no sense.
    Invalid,
    /// The service has the local address already.
    LocalAddressExists,
    /// The service has no such local address.
    NoSuchLocalAddress,
    /// The daemon runs already.
    DaemonRuns,
    /// No such daemon runs.
    NoDaemon,
    /// There is no such interface.
    NoDevice,
    /// Not for this user.
    NotPermitted,
    /// Anything else, in its own words.
    Other(String),
}

/// What a command is about; the same refusal reads differently for services and for what belongs to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    Service,
    PartOfService,
}

impl Refusal {
    /// In ipvsadm's words.
    pub(crate) fn text(&self, about: About) -> &str {
        match self {
            Refusal::ServiceExists => "Service already exists",
            Refusal::NoSuchService => match about {
                About::Service => "No such service",
                About::PartOfService => "Service not defined",
            },
            Refusal::ServerExists => "Destination already exists",
            Refusal::NoSuchServer => "No such destination",
            Refusal::NoScheduler => "Scheduler or persistence engine not found",
            Refusal::OutOfRange => "Numerical result out of range",
            Refusal::Invalid => {
                "Invalid operation.  Possibly wrong module version, address not unicast, ..."
            }
            Refusal::LocalAddressExists => "Local address already exists",
            Refusal::NoSuchLocalAddress => "No such Local address",
            Refusal::DaemonRuns => "Daemon has already run",
            Refusal::NoDaemon => "No daemon is running",
            Refusal::NoDevice => "No such device",
            Refusal::NotPermitted => "Permission denied (you must be root)",
            Refusal::Other(text) => text,
        }
    }
}
