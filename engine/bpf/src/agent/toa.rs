//! TOA: the programs that let servers see the client behind a balancer's address.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapHandle, OpenObject};

use super::maps::set_keys;
use super::{
    AgentError, Counter, Hook, Listeners, Pins, Prefix, Programs, network_namespace_cookie,
};

crate::skeleton::skeleton!("toa");

/// Whom to believe, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToaSettings {
    /// The balancers' local addresses; nobody means everybody.
    pub from: Vec<Prefix>,
    /// The sockets of every network namespace below the control group, not only of ours.
    pub every_namespace: bool,
}

/// The TOA programs.
pub struct Toa;

impl Toa {
    /// Their counters, in the order of `include/toa.h`.
    pub const COUNTERS: &[Counter] = &[
        ("restored", "connections whose programs see the client"),
        (
            "without_option",
            "connections from a listed balancer whose handshake was without the option: it may come with the first data",
        ),
        (
            "untrusted",
            "connections with the option from others than the listed balancers: it is ignored",
        ),
        (
            "failed",
            "connections for whose client the kernel had no memory",
        ),
    ];

    /// Loads the programs on the maps that are pinned in `pins`, or new ones.
    ///
    /// # Errors
    ///
    /// If the kernel refuses them, or the pinned maps are another version's.
    pub fn load(pins: &Pins, settings: &ToaSettings) -> Result<Programs, AgentError> {
        pins.make()?;
        let cookie = network_namespace_cookie().map_err(AgentError::pin(pins.path()))?;
        let mut storage = MaybeUninit::uninit();
        let loaded = load(pins, settings, cookie, &mut storage);
        let loaded = loaded.map_err(|error| AgentError::load("toa", &error))?;
        let trusted =
            MapHandle::try_from(&loaded.maps.trusted).map_err(AgentError::map("trusted"))?;
        set_keys("trusted", &trusted, settings.from.iter().map(Prefix::key))?;
        let programs = &loaded.progs;
        let sockets = [
            // Who is asked first has to know already what the events tell.
            (Hook::PeerName4, programs.peer_name_4.as_fd()),
            (Hook::PeerName6, programs.peer_name_6.as_fd()),
            (Hook::SocketEvents, programs.events.as_fd()),
        ];
        let own = sockets.map(|(hook, program)| Ok((hook, program.try_clone_to_owned()?)));
        let own: std::io::Result<Vec<_>> = own.into_iter().collect();
        Ok(Programs {
            pins: pins.clone(),
            ingress: None,
            egress: None,
            sockets: own.map_err(AgentError::pin(pins.path()))?,
        })
    }

    /// Does the same to what listens in this network namespace already.
    ///
    /// # Errors
    ///
    /// If the kernel does not know how; then those servers have to be started again.
    pub fn include_listeners(pins: &Pins) -> Result<Listeners, AgentError> {
        Listeners::set(pins, true)
    }

    /// Undoes [`include_listeners`](Self::include_listeners), for what has begun to listen later as well.
    ///
    /// # Errors
    ///
    /// As there; then the kernel goes on to keep the SYNs of these servers' connections.
    pub fn release_listeners(pins: &Pins) -> Result<Listeners, AgentError> {
        Listeners::set(pins, false)
    }
}

fn load<'o>(
    pins: &Pins,
    settings: &ToaSettings,
    cookie: u64,
    storage: &'o mut MaybeUninit<OpenObject>,
) -> libbpf_rs::Result<skeleton::ToaSkel<'o>> {
    let mut open = skeleton::ToaSkelBuilder::default().open(storage)?;
    if let Some(constants) = open.maps.rodata_data.as_deref_mut() {
        constants.trust_everybody = settings.from.is_empty();
        constants.every_namespace = settings.every_namespace;
        constants.network_namespace = cookie;
    }
    let path = |name| pins.path().join(name);
    open.maps.counters.set_pin_path(path("counters"))?;
    open.maps.trusted.set_pin_path(path("trusted"))?;
    open.maps.clients.set_pin_path(path("clients"))?;
    open.maps.listeners.set_pin_path(path("listeners"))?;
    open.load()
}
