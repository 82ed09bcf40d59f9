//! What a tunnelled packet is wrapped in.

use std::fmt;

/// The encapsulation that a server takes (ipvsadm's `--tun-type` and what goes with it).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Tunnel {
    /// An IP header alone.
    #[default]
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

/// Whether an encapsulation carries a checksum of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TunnelChecksum {
    /// None.
    #[default]
    Absent,
    /// Over everything from its header on.
    Present,
    /// The same, and the receiver may compute the inner packet's from it if that came incomplete; in GUE only.
    Remote,
}

impl Tunnel {
    /// By how much a packet grows on its way to a server whose address is an IPv4 one, or is not.
    pub const fn overhead(self, to_v4: bool) -> usize {
        let outer = if to_v4 { 20 } else { 40 };
        outer
            + match self {
                Tunnel::Ipip => 0,
                Tunnel::Gue { .. } => 8 + 4,
                Tunnel::Gre {
                    checksum: TunnelChecksum::Present,
                } => 8,
                Tunnel::Gre { .. } => 4,
            }
    }

    /// All of it in one word; [`from_word`](Tunnel::from_word) reads it back.
    pub(crate) const fn to_word(self) -> u32 {
        match self {
            Tunnel::Ipip => 0,
            Tunnel::Gue { port, checksum } => 1 << 24 | (checksum as u32) << 16 | port as u32,
            Tunnel::Gre { checksum } => 2 << 24 | (checksum as u32) << 16,
        }
    }

    pub(crate) const fn from_word(word: u32) -> Tunnel {
        if word == 0 {
            return Tunnel::Ipip;
        }
        let checksum = match word >> 16 & 0xff {
            0 => TunnelChecksum::Absent,
            1 => TunnelChecksum::Present,
            _ => TunnelChecksum::Remote,
        };
        match word >> 24 {
            1 => Tunnel::Gue {
                port: word as u16,
                checksum,
            },
            _ => Tunnel::Gre { checksum },
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tunnel::Ipip => "ipip",
            Tunnel::Gue { .. } => "gue",
            Tunnel::Gre { .. } => "gre",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_fits_a_word_and_comes_back_as_it_was() {
        let checksums = [
            TunnelChecksum::Absent,
            TunnelChecksum::Present,
            TunnelChecksum::Remote,
        ];
        let mut tunnels = vec![Tunnel::Ipip];
        for checksum in checksums {
            tunnels.extend([1, 6080, 65_535].map(|port| Tunnel::Gue { port, checksum }));
            tunnels.push(Tunnel::Gre { checksum });
        }
        for tunnel in tunnels {
            assert_eq!(Tunnel::from_word(tunnel.to_word()), tunnel);
        }
    }
}
