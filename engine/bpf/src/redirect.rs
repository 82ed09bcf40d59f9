//! All of an interface's frames to one AF_XDP socket.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags};

use crate::BpfError;
use crate::link::{Hook, attach_xdp};

crate::skeleton::skeleton!("redirect");

/// Sends every frame that an interface with one queue receives to a socket, until it is dropped.
pub struct Redirect {
    /// Holds the program in place; never read.
    _link: OwnedFd,
}

impl Redirect {
    /// Redirects the frames of queue 0 of the interface with the index `ingress` to `socket`, which is bound to it. The
    /// program runs in the driver, or not at all.
    pub fn attach(ingress: u32, socket: BorrowedFd<'_>) -> Result<Redirect, BpfError> {
        let mut storage = MaybeUninit::uninit();
        let program = skeleton::RedirectSkelBuilder::default()
            .open(&mut storage)
            .map_err(BpfError::bench("redirect", "open"))?
            .load()
            .map_err(BpfError::bench("redirect", "load"))?;
        program
            .maps
            .xsks
            .update(
                &0u32.to_ne_bytes(),
                &socket.as_raw_fd().to_ne_bytes(),
                MapFlags::ANY,
            )
            .map_err(BpfError::bench("redirect", "add the socket"))?;
        let link = attach_xdp(program.progs.redirect.as_fd(), ingress, Hook::Driver)
            .map_err(BpfError::bench("redirect", "attach"))?;
        Ok(Redirect { _link: link })
    }
}

impl fmt::Debug for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirect").finish_non_exhaustive()
    }
}
