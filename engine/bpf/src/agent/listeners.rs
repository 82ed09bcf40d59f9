//! Servers that were there before the agent.

use std::io::{self, Read};
use std::mem::MaybeUninit;

use libbpf_rs::Iter;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};

use super::{AgentError, Pins};

crate::skeleton::skeleton!("listeners");

/// How many TCP sockets that listen were told, and how many could not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Listeners {
    /// Those that look for the option from now on, or no longer.
    pub set: u32,
    /// Those for which this kernel refused it.
    pub refused: u32,
}

impl Listeners {
    pub(super) fn set(pins: &Pins, wanted: bool) -> Result<Listeners, AgentError> {
        let load = |error: libbpf_rs::Error| AgentError::load("listeners", &error);
        let mut storage = MaybeUninit::uninit();
        let mut open = skeleton::ListenersSkelBuilder::default()
            .open(&mut storage)
            .map_err(load)?;
        if let Some(constants) = open.maps.rodata_data.as_deref_mut() {
            constants.wanted = wanted;
        }
        let path = pins.path().join("listeners");
        open.maps.listeners.reuse_pinned_map(path).map_err(load)?;
        let loaded = open.load().map_err(load)?;
        let link = loaded.progs.existing.attach().map_err(load)?;
        // Reading is what makes it run; it writes nothing.
        let mut iterator = Iter::new(&link).map_err(load)?;
        io::copy(&mut iterator.by_ref(), &mut io::sink()).map_err(AgentError::map("listeners"))?;
        let counted = loaded.maps.bss_data.as_deref();
        Ok(
            counted.map_or_else(Listeners::default, |counted| Listeners {
                set: counted.set,
                refused: counted.refused,
            }),
        )
    }
}
