//! Virtual services as ipvsadm speaks of them.

use std::net::{Ipv4Addr, SocketAddr};

use lb_model::{Protocol, SchedulerFlags};

/// What a service balances; IPVS has SCTP beside the two that lbd forwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)] // the names are the protocols'
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    /// As listings print it.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Sctp => "SCTP",
        }
    }

    /// The option that names a service of it.
    pub const fn switch(self) -> &'static str {
        match self {
            Transport::Tcp => "-t",
            Transport::Udp => "-u",
            Transport::Sctp => "--sctp-service",
        }
    }

    /// Its number in IP headers.
    pub const fn number(self) -> u8 {
        match self {
            Transport::Tcp => 6,
            Transport::Udp => 17,
            Transport::Sctp => 132,
        }
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Transport {
        match protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
            Protocol::Sctp => Transport::Sctp,
        }
    }
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Protocol {
        match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
            Transport::Sctp => Protocol::Sctp,
        }
    }
}

/// The address family of a mark service; the others show theirs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)] // the names are the families'
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of an address, as it was written: an IPv4-mapped one is IPv6.
    pub fn of(address: &SocketAddr) -> Family {
        if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}

/// What names a virtual service.
///
/// The addresses are the standard library's and not [`lb_model::Addr`], which reads `::ffff:10.0.0.1` as IPv4:
/// ipvsadm keeps the two apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ServiceId {
    /// `-t`, `-u` or `--sctp-service` VIP:vport; port 0 is any port.
    Address {
        /// What it balances.
        transport: Transport,
        /// VIP:vport.
        vip: SocketAddr,
    },
    /// `-f MARK`, with `-6` for IPv6.
    Mark {
        /// The mark, not 0.
        mark: u32,
        /// What packets it balances.
        family: Family,
    },
}

impl ServiceId {
    /// The family of its clients.
    pub fn family(&self) -> Family {
        match self {
            ServiceId::Address { vip, .. } => Family::of(vip),
            ServiceId::Mark { family, .. } => *family,
        }
    }

    /// What it balances, if that is one thing.
    pub fn transport(&self) -> Option<Transport> {
        match self {
            ServiceId::Address { transport, .. } => Some(*transport),
            ServiceId::Mark { .. } => None,
        }
    }
}

/// All that `-A` and `-E` set; `-E` replaces all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSettings {
    /// `-s`, `wlc` if not given.
    pub scheduler: String,
    /// `-b`.
    pub flags: SchedulerFlags,
    /// `-p` and `-M`.
    pub persistence: Option<Persistence>,
    /// `--pe`.
    pub engine: Option<String>,
    /// `-o`: every packet is scheduled by itself.
    pub one_packet: bool,
}

/// Clients of one network stay with one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persistence {
    /// How long after the last conn.
    pub timeout_s: u32,
    /// What of a client's address counts.
    pub mask: Mask,
}

/// The part of a client's address that persistence looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mask {
    /// Any bits, not only a prefix: IPVS accepts `255.0.255.0`.
    V4(Ipv4Addr),
    /// The length of a prefix.
    V6(u8),
}

impl Mask {
    /// The mask that tells all addresses of a family apart; listings do not mention it.
    pub const fn whole(family: Family) -> Mask {
        match family {
            Family::V4 => Mask::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Mask::V6(128),
        }
    }

    /// What `-M` and listings say, if it is not the whole address.
    pub fn shown(self) -> Option<String> {
        match self {
            Mask::V4(Ipv4Addr::BROADCAST) | Mask::V6(128) => None,
            Mask::V4(mask) => Some(mask.to_string()),
            Mask::V6(prefix) => Some(prefix.to_string()),
        }
    }
}
