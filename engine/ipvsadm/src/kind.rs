//! The kinds of options, as ipvsadm counts them.

use crate::option::Flag;

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
pub(crate) const KINDS: [(Kind, &str); 37] = [
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

impl Kind {
    /// What an option counts as; `None` for those that may be repeated.
    pub(crate) fn of(flag: Flag) -> Option<Kind> {
        Some(match flag {
            Flag::Tcp | Flag::Udp | Flag::Sctp | Flag::Mark => Kind::Service,
            Flag::Scheduler => Kind::Scheduler,
            Flag::SchedulerFlags => Kind::SchedulerFlags,
            Flag::Persistent => Kind::Persistent,
            Flag::Netmask => Kind::Netmask,
            Flag::Engine => Kind::Engine,
            Flag::OnePacket => Kind::OnePacket,
            Flag::Server => Kind::Server,
            Flag::Direct | Flag::Tunnel | Flag::Nat | Flag::FullNat | Flag::Enat => {
                Kind::Forwarding
            }
            Flag::Weight => Kind::Weight,
            Flag::UpperThreshold => Kind::UpperThreshold,
            Flag::LowerThreshold => Kind::LowerThreshold,
            Flag::TunnelType => Kind::TunnelType,
            Flag::TunnelPort => Kind::TunnelPort,
            Flag::TunnelNoChecksum => Kind::TunnelNoChecksum,
            Flag::TunnelChecksum => Kind::TunnelChecksum,
            Flag::TunnelRemoteChecksum => Kind::TunnelRemoteChecksum,
            Flag::LocalAddress => Kind::LocalAddress,
            Flag::LocalInterface => Kind::LocalInterface,
            Flag::Numeric => Kind::Numeric,
            Flag::Conns => Kind::Conns,
            Flag::Timeout => Kind::Timeout,
            Flag::Daemon => Kind::Daemon,
            Flag::Stats => Kind::Stats,
            Flag::Rate => Kind::Rate,
            Flag::Thresholds => Kind::Thresholds,
            Flag::PersistentConn => Kind::PersistentConn,
            Flag::TunnelInfo => Kind::TunnelInfo,
            Flag::NoSort => Kind::NoSort,
            Flag::Exact => Kind::Exact,
            Flag::Complete => Kind::Complete,
            Flag::SyncId => Kind::SyncId,
            Flag::SyncMaxLength => Kind::SyncMaxLength,
            Flag::McastInterface => Kind::McastInterface,
            Flag::McastGroup => Kind::McastGroup,
            Flag::McastPort => Kind::McastPort,
            Flag::McastTtl => Kind::McastTtl,
            _ => return None,
        })
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
