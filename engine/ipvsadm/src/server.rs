//! Real servers as ipvsadm speaks of them.

use std::net::SocketAddr;

pub use lb_model::{Tunnel, TunnelChecksum};

/// All that `-a` and `-e` set; `-e` replaces all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerSettings {
    /// RIP:rport, which names it within its service.
    pub address: SocketAddr,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// `-w`; 0 quiesces.
    pub weight: u32,
    /// `-x`: from so many conns on it gets no new ones; 0 is no limit.
    pub upper_threshold: u32,
    /// `-y`: below so many it gets new ones again.
    pub lower_threshold: u32,
}

/// The forwarding method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarding {
    /// `-g`.
    Direct,
    /// `-i`.
    Tunnel(Tunnel),
    /// `-m`.
    Nat,
    /// `-b`, DPVS's.
    FullNat,
    /// `--enat`, ours.
    Enat,
}

impl Forwarding {
    /// As listings print it.
    pub const fn name(self) -> &'static str {
        match self {
            Forwarding::Direct => "Route",
            Forwarding::Tunnel(_) => "Tunnel",
            Forwarding::Nat => "Masq",
            Forwarding::FullNat => "FullNat",
            Forwarding::Enat => "Enat",
        }
    }

    /// The option that asks for it.
    pub const fn switch(self) -> &'static str {
        match self {
            Forwarding::Direct => "-g",
            Forwarding::Tunnel(_) => "-i",
            Forwarding::Nat => "-m",
            Forwarding::FullNat => "-b",
            Forwarding::Enat => "--enat",
        }
    }

    /// Whether packets keep their destination port, so that the server's is the service's.
    pub const fn keeps_port(self) -> bool {
        matches!(self, Forwarding::Direct | Forwarding::Tunnel(_))
    }
}

/// The option that asks for a checksum of the encapsulation's own.
pub(crate) const fn checksum_switch(checksum: TunnelChecksum) -> &'static str {
    match checksum {
        TunnelChecksum::Absent => "--tun-nocsum",
        TunnelChecksum::Present => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    }
}

/// A checksum as `--tun-info` prints it.
pub(crate) const fn checksum_short(checksum: TunnelChecksum) -> &'static str {
    match checksum {
        TunnelChecksum::Absent => "-c",
        TunnelChecksum::Present => "+c",
        TunnelChecksum::Remote => "r+c",
    }
}
