//! Attaching programs by a `bpf_link`.
//!
//! libbpf-rs attaches XDP links without flags, and then the kernel may choose generic mode without saying so; tcx links
//! it does not know.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;

/// Where in the receive path a program runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    /// In the driver, before the kernel makes a packet of the frame.
    Driver,
    /// In the kernel's generic path, on any driver, at the cost of an allocated packet.
    Generic,
}

/// Attaches an XDP program to the interface; closing the descriptor, or the end of the process, detaches it.
pub(crate) fn attach_xdp(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<OwnedFd> {
    let flags = match hook {
        Hook::Driver => libbpf_sys::XDP_FLAGS_DRV_MODE,
        Hook::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
    };
    attach(program, ifindex, libbpf_sys::BPF_XDP, flags)
}

/// Attaches a tc program to what the interface receives, before everything else there; it ends as
/// [`attach_xdp`]'s does.
pub(crate) fn attach_tcx_ingress(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    attach(
        program,
        ifindex,
        libbpf_sys::BPF_TCX_INGRESS,
        libbpf_sys::BPF_F_BEFORE,
    )
}

fn attach(
    program: BorrowedFd<'_>,
    ifindex: u32,
    point: libbpf_sys::bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags,
        ..Default::default()
    };
    // SAFETY: both descriptors are open for the call, `options` carries its own size and outlives the call.
    let link = unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex as i32, point, &options)
    };
    if link < 0 {
        // libbpf returns the negative errno.
        return Err(io::Error::from_raw_os_error(-link));
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}
