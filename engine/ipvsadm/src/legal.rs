//! Which options go with which command, and with which tunnel.

use crate::option::Flag;
use crate::usage::UsageError;

/// What ipvsadm counts as one option: given twice, it is a mistake. In the order in which it checks them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Numeric,
    Conns,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forwarding,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLength,
    TunnelInfo,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
    LocalAddress,
    LocalInterface,
    Complete,
}

/// With the names that messages call them by.
const KINDS: [(Kind, &str); 37] = [
    (Kind::Numeric, "numeric"),
    (Kind::Conns, "connection"),
    (Kind::Service, "service-address"),
    (Kind::Scheduler, "scheduler"),
    (Kind::Persistent, "persistent"),
    (Kind::Netmask, "netmask"),
    (Kind::Server, "real-server"),
    (Kind::Forwarding, "forwarding-method"),
    (Kind::Weight, "weight"),
    (Kind::UpperThreshold, "u-threshold"),
    (Kind::LowerThreshold, "l-threshold"),
    (Kind::McastInterface, "mcast-interface"),
    (Kind::Timeout, "timeout"),
    (Kind::Daemon, "daemon"),
    (Kind::Stats, "stats"),
    (Kind::Rate, "rate"),
    (Kind::Thresholds, "thresholds"),
    (Kind::PersistentConn, "persistent-conn"),
    (Kind::NoSort, "nosort"),
    (Kind::SyncId, "syncid"),
    (Kind::Exact, "exact"),
    (Kind::OnePacket, "ops"),
    (Kind::Engine, "pe"),
    (Kind::SchedulerFlags, "sched-flags"),
    (Kind::McastGroup, "mcast-group"),
    (Kind::McastPort, "mcast-port"),
    (Kind::McastTtl, "mcast-ttl"),
    (Kind::SyncMaxLength, "sync-maxlen"),
    (Kind::TunnelInfo, "tun-info"),
    (Kind::TunnelType, "tun-type"),
    (Kind::TunnelPort, "tun-port"),
    (Kind::TunnelNoChecksum, "tun-nocsum"),
    (Kind::TunnelChecksum, "tun-csum"),
    (Kind::TunnelRemoteChecksum, "tun-remcsum"),
    (Kind::LocalAddress, "local-address"),
    (Kind::LocalInterface, "ifname"),
    (Kind::Complete, "complete"),
];

/// The options that were given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given(u64);

impl Given {
    /// Counts an option in, which must be its first time.
    pub(crate) fn add(&mut self, kind: Kind) -> Result<(), UsageError> {
        if self.has(kind) {
            let name = KINDS[kind as usize].1;
            return Err(UsageError::mistake(format!(
                "multiple '{name}' options specified"
            )));
        }
        self.0 |= 1 << kind as u8;
        Ok(())
    }

    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    pub(crate) fn has_any(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }

    /// Checks the options against a command.
    pub(crate) fn check_command(self, command: Flag) -> Result<(), UsageError> {
        let circumstance = format!("'{}' command", command_name(command));
        self.check(&KINDS, |kind| beside_command(command, kind), &circumstance)
    }

    /// Checks the tunnel options against a type of tunnel.
    pub(crate) fn check_tunnel(self, tunnel: TunnelType) -> Result<(), UsageError> {
        let first = Kind::TunnelPort as usize;
        let circumstance = format!("'{}' tunnel type", tunnel.name());
        let kinds = &KINDS[first..=Kind::TunnelRemoteChecksum as usize];
        self.check(kinds, |kind| beside_tunnel(tunnel, kind), &circumstance)
    }

    fn check(
        self,
        kinds: &[(Kind, &str)],
        rule: impl Fn(Kind) -> Rule,
        circumstance: &str,
    ) -> Result<(), UsageError> {
        let mut exclusive = None;
        for (kind, name) in kinds {
            match (rule(*kind), self.has(*kind)) {
                (Rule::Required, false) => {
                    return Err(UsageError::mistake(format!(
                        "You need to supply the '{name}' option for the {circumstance}"
                    )));
                }
                (Rule::Illegal, true) => {
                    return Err(UsageError::mistake(format!(
                        "Illegal '{name}' option with the {circumstance}"
                    )));
                }
                (Rule::Exclusive, true) => {
                    if let Some(other) = exclusive.replace(name) {
                        return Err(UsageError::mistake(format!(
                            "The option '{name}' conflicts with the '{other}' option in the {circumstance}"
                        )));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The tunnels ipvsadm knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TunnelType {
    Ipip,
    Gue,
    Gre,
}

impl TunnelType {
    pub(crate) fn from_name(name: &str) -> Option<TunnelType> {
        [TunnelType::Ipip, TunnelType::Gue, TunnelType::Gre]
            .into_iter()
            .find(|tunnel| tunnel.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            TunnelType::Ipip => "ipip",
            TunnelType::Gue => "gue",
            TunnelType::Gre => "gre",
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    Required,
    Optional,
    /// One of them at most.
    Exclusive,
    Illegal,
}

fn beside_command(command: Flag, kind: Kind) -> Rule {
    use Rule::{Exclusive, Illegal, Optional, Required};
    match (command, kind) {
        (Flag::AddService | Flag::EditService, Kind::Service) => Required,
        (
            Flag::AddService | Flag::EditService,
            Kind::Scheduler
            | Kind::SchedulerFlags
            | Kind::Persistent
            | Kind::Netmask
            | Kind::Engine
            | Kind::OnePacket,
        ) => Optional,
        (Flag::DeleteService, Kind::Service) => Required,
        (Flag::AddServer | Flag::EditServer | Flag::DeleteServer, Kind::Service | Kind::Server) => {
            Required
        }
        (
            Flag::AddServer | Flag::EditServer,
            Kind::Forwarding
            | Kind::Weight
            | Kind::UpperThreshold
            | Kind::LowerThreshold
            | Kind::TunnelType
            | Kind::TunnelPort
            | Kind::TunnelNoChecksum
            | Kind::TunnelChecksum
            | Kind::TunnelRemoteChecksum,
        ) => Optional,
        (Flag::List, Kind::Conns | Kind::Service | Kind::Timeout | Kind::Daemon) => Exclusive,
        (
            Flag::List,
            Kind::Numeric
            | Kind::Stats
            | Kind::Rate
            | Kind::Thresholds
            | Kind::PersistentConn
            | Kind::NoSort
            | Kind::Exact
            | Kind::TunnelInfo,
        ) => Optional,
        (Flag::Zero | Flag::ListLocalAddresses, Kind::Service) => Optional,
        (Flag::Save, Kind::Numeric | Kind::Complete) => Optional,
        (
            Flag::StartDaemon,
            Kind::McastInterface
            | Kind::SyncId
            | Kind::McastGroup
            | Kind::McastPort
            | Kind::McastTtl
            | Kind::SyncMaxLength,
        ) => Optional,
        (Flag::StopDaemon, Kind::SyncId) => Optional,
        (Flag::AddLocalAddress | Flag::DeleteLocalAddress, Kind::Service | Kind::LocalAddress) => {
            Required
        }
        (Flag::AddLocalAddress | Flag::DeleteLocalAddress, Kind::LocalInterface) => Optional,
        _ => Illegal,
    }
}

fn beside_tunnel(tunnel: TunnelType, kind: Kind) -> Rule {
    use Rule::{Exclusive, Illegal, Required};
    match (tunnel, kind) {
        (TunnelType::Gue, Kind::TunnelPort) => Required,
        (TunnelType::Gue, Kind::TunnelRemoteChecksum) => Exclusive,
        (TunnelType::Gue | TunnelType::Gre, Kind::TunnelNoChecksum | Kind::TunnelChecksum) => {
            Exclusive
        }
        _ => Illegal,
    }
}

fn command_name(command: Flag) -> &'static str {
    match command {
        Flag::AddService => "add-service",
        Flag::EditService => "edit-service",
        Flag::DeleteService => "delete-service",
        Flag::Flush => "flush",
        Flag::List => "list",
        Flag::AddServer => "add-server",
        Flag::DeleteServer => "delete-server",
        Flag::EditServer => "edit-server",
        Flag::Set => "set",
        Flag::StartDaemon => "start-daemon",
        Flag::StopDaemon => "stop-daemon",
        Flag::Restore => "restore",
        Flag::Save => "save",
        Flag::Zero => "zero",
        Flag::AddLocalAddress => "add-laddr",
        Flag::DeleteLocalAddress => "del-laddr",
        Flag::ListLocalAddresses => "get-laddr",
        _ => "no",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_own_numbers() {
        for (at, (kind, _)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
    }
}
