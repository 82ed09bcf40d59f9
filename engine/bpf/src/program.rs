//! The steering program in the kernel: loaded, with its maps, attached to nothing yet.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use lb_model::Mac;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::rules::Rule;

crate::skeleton::skeleton!("steer");

/// Sent to a socket: `enum counter` of `include/steer.h`.
pub(crate) const COUNTER_REDIRECTED: u32 = 0;
/// Left to the kernel.
pub(crate) const COUNTER_PASSED: u32 = 1;

/// The first byte of a frame with room in front, as `include/steer.h` has it; the second says how much.
pub const ROOM_MARK: u8 = 0xff;

/// Handles of the program's maps, which live as long as these or the attached program.
pub(crate) struct Maps {
    xsks: MapHandle,
    services: MapHandle,
    servers: MapHandle,
    local_addresses: MapHandle,
    marked: MapHandle,
    locals: MapHandle,
    peers: MapHandle,
    peering: MapHandle,
    own_mac: MapHandle,
    counters: MapHandle,
}

impl Maps {
    pub(crate) fn add(&self, rule: &Rule) -> libbpf_rs::Result<()> {
        if let Rule::Peer(_) = rule {
            let yes = 1u32.to_ne_bytes();
            self.peering
                .update(&0u32.to_ne_bytes(), &yes, MapFlags::ANY)?;
        }
        self.of(rule)
            .update(&rule.key(), &rule.value(), MapFlags::ANY)
    }

    pub(crate) fn remove(&self, rule: &Rule) -> libbpf_rs::Result<()> {
        self.of(rule).delete(&rule.key())
    }

    pub(crate) fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> libbpf_rs::Result<()> {
        let fd = socket.as_raw_fd();
        self.xsks
            .update(&queue.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)
    }

    pub(crate) fn set_own_mac(&self, mac: Mac) -> libbpf_rs::Result<()> {
        let mut value = [0; 8];
        value[..6].copy_from_slice(&mac.0);
        self.own_mac
            .update(&0u32.to_ne_bytes(), &value, MapFlags::ANY)
    }

    pub(crate) fn sum(&self, counter: u32) -> libbpf_rs::Result<u64> {
        let values = self
            .counters
            .lookup_percpu(&counter.to_ne_bytes(), MapFlags::ANY)?;
        Ok(values
            .iter()
            .flatten()
            .filter_map(|value| value.as_slice().try_into().ok())
            .map(u64::from_ne_bytes)
            .sum())
    }

    fn of(&self, rule: &Rule) -> &MapHandle {
        match rule {
            Rule::Service(..) | Rule::FragmentsTo(_) => &self.services,
            Rule::Server(..) | Rule::FragmentsFrom(_) => &self.servers,
            Rule::LocalAddress(..) => &self.local_addresses,
            Rule::Marked(..) => &self.marked,
            Rule::Local(_) => &self.locals,
            Rule::Peer(_) => &self.peers,
        }
    }
}

/// Loads the program and makes its maps, room for `queues` sockets among them.
pub(crate) fn load(
    storage: &mut MaybeUninit<libbpf_rs::OpenObject>,
    queues: u32,
) -> libbpf_rs::Result<(Maps, skeleton::SteerSkel<'_>)> {
    let mut open = skeleton::SteerSkelBuilder::default().open(storage)?;
    open.maps.xsks.set_max_entries(queues.max(1))?;
    let program = open.load()?;
    let maps = Maps {
        xsks: MapHandle::try_from(&program.maps.xsks)?,
        services: MapHandle::try_from(&program.maps.services)?,
        servers: MapHandle::try_from(&program.maps.servers)?,
        local_addresses: MapHandle::try_from(&program.maps.local_addresses)?,
        marked: MapHandle::try_from(&program.maps.marked)?,
        locals: MapHandle::try_from(&program.maps.locals)?,
        peers: MapHandle::try_from(&program.maps.peers)?,
        peering: MapHandle::try_from(&program.maps.peering)?,
        own_mac: MapHandle::try_from(&program.maps.own_mac)?,
        counters: MapHandle::try_from(&program.maps.counters)?,
    };
    Ok((maps, program))
}

#[cfg(test)]
mod tests;
