//! The connection synchronisation daemons of IPVS.

use std::net::IpAddr;

/// Which of the two daemons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Tells others about conns.
    Master,
    /// Learns conns from a master.
    Backup,
}

impl Role {
    /// As it is typed and listed.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Backup => "backup",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Role> {
        [Role::Master, Role::Backup]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// A daemon to start, or one that runs; what is `None` is left to whoever runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Daemon {
    /// Which.
    pub role: Role,
    /// Where it sends or listens.
    pub interface: String,
    /// Keeps several groups of balancers on one network apart.
    pub sync_id: u8,
    /// The longest message.
    pub max_length: Option<u16>,
    /// The multicast group.
    pub group: Option<IpAddr>,
    /// The UDP port.
    pub port: Option<u16>,
    /// The multicast time to live.
    pub ttl: Option<u8>,
}
