//! ENAT: the programs that complete, on the server, the translation that a balancer began.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use lb_model::Addr;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, OpenObject};

use super::maps::{self, set_keys};
use super::{AgentError, Counter, Pins, Programs};

crate::skeleton::skeleton!("enat");

/// A port of a VIP's, and the server's port that it is mapped to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PortMapping {
    /// The service's address.
    pub vip: Addr,
    /// The service's port.
    pub vport: u16,
    /// This server's port.
    pub rport: u16,
}

/// For which services to translate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnatSettings {
    /// Their addresses. A balancer sends from these, so they are also all who are believed.
    pub vips: Vec<Addr>,
    /// The services' ports where packets cannot tell them, which is TCP over IPv6; without a mapping the service's port
    /// is the server's.
    pub ports: Vec<PortMapping>,
    /// How many flows are remembered at most: one for a TCP connection, two for a UDP conversation. Maps that are pinned
    /// already keep their size.
    pub capacity: u32,
}

/// The ENAT programs.
pub struct Enat;

impl Enat {
    /// Their counters, in the order of `include/enat.h`.
    pub const COUNTERS: &[Counter] = &[
        ("learned", "flows whose client an option told"),
        (
            "restored",
            "packets from clients, put back as the client sent them",
        ),
        ("replies", "datagrams that left as the VIP's"),
        ("errors", "ICMP errors translated"),
        (
            "unknown",
            "packets from a VIP without an option, of a flow that is not known (any more): left alone",
        ),
        (
            "untrusted",
            "TCP connections with the option from another address than a VIP: left alone",
        ),
        (
            "collision",
            "UDP conversations of one client's port with two services on the same port of ours: replies go to the later",
        ),
        (
            "no_server",
            "dropped: nobody listens on the server's port, and somebody else on the VIP's",
        ),
        ("failed", "dropped: the kernel could not change a packet"),
    ];

    /// Loads the programs on the maps that are pinned in `pins`, or new ones.
    ///
    /// # Errors
    ///
    /// If the kernel refuses them, or the pinned maps are another version's.
    pub fn load(pins: &Pins, settings: &EnatSettings) -> Result<Programs, AgentError> {
        pins.make()?;
        let mut storage = MaybeUninit::uninit();
        let loaded = load(pins, settings, &mut storage);
        let loaded = loaded.map_err(|error| AgentError::load("enat", &error))?;
        let map = |name, map: libbpf_rs::Result<MapHandle>| map.map_err(AgentError::map(name));
        let vips = map("vips", MapHandle::try_from(&loaded.maps.vips))?;
        set_ports(
            &map("ports", MapHandle::try_from(&loaded.maps.ports))?,
            &settings.ports,
        )?;
        set_keys("vips", &vips, settings.vips.iter().map(Addr::octets))?;
        let own = |program: std::os::fd::BorrowedFd<'_>| {
            let own = program.try_clone_to_owned();
            own.map_err(AgentError::pin(pins.path())).map(Some)
        };
        Ok(Programs {
            pins: pins.clone(),
            ingress: own(loaded.progs.incoming.as_fd())?,
            egress: own(loaded.progs.outgoing.as_fd())?,
            sockets: Vec::new(),
        })
    }
}

/// Makes `map` hold these mappings and no others.
fn set_ports(map: &MapHandle, mappings: &[PortMapping]) -> Result<(), AgentError> {
    let before: Vec<Vec<u8>> = map.keys().collect();
    for mapping in mappings {
        map.update(
            &port_key(mapping),
            &mapping.vport.to_be_bytes(),
            MapFlags::ANY,
        )
        .map_err(AgentError::map("ports"))?;
    }
    for key in before {
        if !mappings.iter().any(|mapping| port_key(mapping)[..] == key) {
            map.delete(&key).map_err(AgentError::map("ports"))?;
        }
    }
    Ok(())
}

/// `struct port_key` of `include/enat.h`.
fn port_key(mapping: &PortMapping) -> [u8; 20] {
    /// TCP (RFC 9293 section 3.1).
    const TCP: u8 = 6;
    let mut key = [0; 20];
    key[..16].copy_from_slice(mapping.vip.octets());
    key[16..18].copy_from_slice(&mapping.rport.to_be_bytes());
    key[18] = TCP;
    key
}

fn load<'o>(
    pins: &Pins,
    settings: &EnatSettings,
    storage: &'o mut MaybeUninit<OpenObject>,
) -> libbpf_rs::Result<skeleton::EnatSkel<'o>> {
    let mut open = skeleton::EnatSkelBuilder::default().open(storage)?;
    let path = |name| pins.path().join(name);
    // Live flows are worth more than another size.
    let capacity = match maps::open(pins.path(), "flows") {
        Ok(pinned) => pinned.max_entries(),
        Err(_) => settings.capacity,
    };
    open.maps.flows.set_max_entries(capacity)?;
    open.maps.flows.set_pin_path(path("flows"))?;
    open.maps.counters.set_pin_path(path("counters"))?;
    open.maps.vips.set_pin_path(path("vips"))?;
    open.maps.ports.set_pin_path(path("ports"))?;
    open.maps.fragmented.set_pin_path(path("fragmented"))?;
    open.load()
}
