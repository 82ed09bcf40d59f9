//! Real servers as ipvsadm speaks of them.

use std::net::SocketAddr;

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

/// What a tunnelled packet is wrapped in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tunnel {
    /// An IP header alone.
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The server's UDP port for it.
        port: u16,
        /// Of the UDP header.
        checksum: TunnelChecksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Of the GRE header.
        checksum: TunnelChecksum,
    },
}

/// Whether the encapsulation carries a checksum of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunnelChecksum {
    /// `--tun-nocsum`, the default.
    Absent,
    /// `--tun-csum`.
    Present,
    /// `--tun-remcsum`: the receiver computes the inner one.
    Remote,
}

impl TunnelChecksum {
    /// The option that asks for it.
    pub const fn switch(self) -> &'static str {
        match self {
            TunnelChecksum::Absent => "--tun-nocsum",
            TunnelChecksum::Present => "--tun-csum",
            TunnelChecksum::Remote => "--tun-remcsum",
        }
    }

    /// As `--tun-info` prints it.
    pub const fn short(self) -> &'static str {
        match self {
            TunnelChecksum::Absent => "-c",
            TunnelChecksum::Present => "+c",
            TunnelChecksum::Remote => "r+c",
        }
    }
}
