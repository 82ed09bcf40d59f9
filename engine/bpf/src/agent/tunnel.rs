//! Decapsulation: the program that takes a balancer's packets out of their tunnel.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use lb_model::Addr;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapHandle, OpenObject};

use super::maps::set_keys;
use super::{AgentError, Counter, Pins, Prefix, Programs};

crate::skeleton::skeleton!("decap");

/// What to take out of tunnels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelSettings {
    /// The addresses that the packets inside may be for.
    pub vips: Vec<Addr>,
    /// Who may send them; nobody means everybody.
    pub from: Vec<Prefix>,
    /// The UDP ports on which GUE comes.
    pub gue_ports: Vec<u16>,
}

/// The decapsulating program.
pub struct Tunnel;

impl Tunnel {
    /// Its counters, in the order of `include/decap.h`.
    pub const COUNTERS: &[Counter] = &[
        ("decapsulated", "packets taken out of their tunnel"),
        (
            "untrusted",
            "tunnel packets from others than the listed balancers, left alone",
        ),
        (
            "other_destination",
            "tunnel packets for another address than the VIPs, left alone",
        ),
        (
            "fragment",
            "fragments of tunnel packets, left alone: only the kernel could put them together",
        ),
        (
            "unsupported",
            "malformed tunnel packets and options that we do not know, left alone",
        ),
        (
            "congested",
            "dropped: the network marked congestion on a flow that does not know the mark (RFC 6040)",
        ),
        (
            "failed",
            "dropped: the kernel could not cut the outer headers off",
        ),
    ];

    /// Loads the program on the maps that are pinned in `pins`, or new ones.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it, or the pinned maps are another version's.
    pub fn load(pins: &Pins, settings: &TunnelSettings) -> Result<Programs, AgentError> {
        pins.make()?;
        let mut storage = MaybeUninit::uninit();
        let loaded = load(pins, settings, &mut storage);
        let loaded = loaded.map_err(|error| AgentError::load("decap", &error))?;
        let map = |name, map: libbpf_rs::Result<MapHandle>| map.map_err(AgentError::map(name));
        let ports = settings.gue_ports.iter().map(|port| u32::from(*port));
        let ports = ports.map(u32::to_ne_bytes);
        let known = map("gue_ports", MapHandle::try_from(&loaded.maps.gue_ports))?;
        set_keys("gue_ports", &known, ports)?;
        let trusted = map("trusted", MapHandle::try_from(&loaded.maps.trusted))?;
        set_keys("trusted", &trusted, settings.from.iter().map(Prefix::key))?;
        let vips = map("vips", MapHandle::try_from(&loaded.maps.vips))?;
        set_keys("vips", &vips, settings.vips.iter().map(Addr::octets))?;
        let program = (loaded.progs.decap.as_fd().try_clone_to_owned())
            .map_err(AgentError::pin(pins.path()))?;
        Ok(Programs {
            pins: pins.clone(),
            ingress: Some(program),
            egress: None,
            sockets: Vec::new(),
        })
    }
}

fn load<'o>(
    pins: &Pins,
    settings: &TunnelSettings,
    storage: &'o mut MaybeUninit<OpenObject>,
) -> libbpf_rs::Result<skeleton::DecapSkel<'o>> {
    let mut open = skeleton::DecapSkelBuilder::default().open(storage)?;
    if let Some(constants) = open.maps.rodata_data.as_deref_mut() {
        constants.trust_everybody = settings.from.is_empty();
    }
    let path = |name| pins.path().join(name);
    open.maps.counters.set_pin_path(path("counters"))?;
    open.maps.trusted.set_pin_path(path("trusted"))?;
    open.maps.vips.set_pin_path(path("vips"))?;
    open.maps.gue_ports.set_pin_path(path("gue_ports"))?;
    open.load()
}
