//! What the agent shall do.

use std::fmt;
use std::ops::RangeInclusive;

use lb_bpf::agent::{Counter, Enat, EnatSettings, Prefix, Toa, ToaSettings, Tunnel};
use lb_model::Addr;

/// What a real server can be helped with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum Role {
    /// The client's address for programs behind FNAT
    Toa,
    /// The server's half of ENAT
    Enat,
    /// Decapsulation
    Tun,
    /// VIPs held silently
    Dr,
}

impl Role {
    /// All of them, in the order in which they are attached.
    pub const ALL: [Role; 4] = [Role::Toa, Role::Enat, Role::Tun, Role::Dr];

    /// As it is written on the command line, in files and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Toa => "toa",
            Role::Enat => "enat",
            Role::Tun => "tun",
            Role::Dr => "dr",
        }
    }

    /// What its programs count.
    pub fn counters(self) -> &'static [Counter] {
        match self {
            Role::Toa => Toa::COUNTERS,
            Role::Enat => Enat::COUNTERS,
            Role::Tun => Tunnel::COUNTERS,
            Role::Dr => &[],
        }
    }

    /// The first kernel that has what it needs, and what that is.
    pub fn kernel(self) -> ((u32, u32), &'static str) {
        match self {
            Role::Toa => (
                (5, 15),
                "events of TCP sockets that tell the network namespace",
            ),
            Role::Enat | Role::Tun => (
                (6, 6),
                "tcx, eBPF programs on interfaces that are held by links",
            ),
            Role::Dr => ((5, 18), "the mark by which an address is known as ours"),
        }
    }

    /// Whether it loads eBPF programs.
    pub fn has_programs(self) -> bool {
        self != Role::Dr
    }

    /// Whether its programs are told VIPs.
    pub fn knows_vips(self) -> bool {
        matches!(self, Role::Enat | Role::Tun)
    }

    /// Whether its programs are told whom to believe.
    pub fn knows_sources(self) -> bool {
        matches!(self, Role::Toa | Role::Tun)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The roles that shall be played, and how.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The client's address for programs behind FNAT.
    pub toa: Option<ToaSettings>,
    /// The server's half of ENAT.
    pub enat: Option<EnatPlan>,
    /// Decapsulation.
    pub tun: Option<TunPlan>,
    /// VIPs held silently.
    pub dr: Option<DrPlan>,
}

impl Plan {
    /// The roles in it.
    pub fn roles(&self) -> Vec<Role> {
        let has = |role: &Role| match role {
            Role::Toa => self.toa.is_some(),
            Role::Enat => self.enat.is_some(),
            Role::Tun => self.tun.is_some(),
            Role::Dr => self.dr.is_some(),
        };
        Role::ALL.into_iter().filter(has).collect()
    }

    /// The VIPs that a role wants on this machine's loopback.
    pub fn vips(&self, role: Role) -> &[Addr] {
        match role {
            Role::Toa => &[],
            Role::Enat => (self.enat.iter())
                .find(|enat| enat.hold_vips)
                .map_or(&[], |enat| &enat.settings.vips),
            Role::Tun => (self.tun.iter())
                .find(|tun| tun.hold_vips)
                .map_or(&[], |tun| &tun.vips),
            Role::Dr => self.dr.as_ref().map_or(&[], |dr| &dr.vips),
        }
    }
}

/// The server's half of ENAT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnatPlan {
    /// What is translated.
    pub settings: EnatSettings,
    /// The interfaces that are looked at; none means every Ethernet interface, also those that come later.
    pub interfaces: Vec<String>,
    /// Whether the VIPs are put on loopback; TCP needs them there.
    pub hold_vips: bool,
}

/// How many flows are worth while, and the kernel takes.
pub const CAPACITIES: RangeInclusive<i64> = 1024..=16_777_216;

/// Flows that are remembered if nobody says otherwise: some 40 MB.
pub const FLOWS: u32 = 262_144;

/// Decapsulation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunPlan {
    /// The addresses that the packets inside may be for.
    pub vips: Vec<Addr>,
    /// Who may send them; nobody means everybody.
    pub from: Vec<Prefix>,
    /// The UDP ports on which GUE comes.
    pub gue_ports: Vec<u16>,
    /// The interfaces that are looked at; none means every Ethernet interface, also those that come later.
    pub interfaces: Vec<String>,
    /// Whether the VIPs are put on loopback.
    pub hold_vips: bool,
}

/// Where IPVS, and so lbd, sends GUE if nobody says otherwise.
pub const GUE_PORT: u16 = 6080;

/// VIPs held silently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DrPlan {
    /// The addresses.
    pub vips: Vec<Addr>,
}
