//! Attaching programs by a `bpf_link`.
//!
//! libbpf-rs attaches XDP links without flags, and then the kernel may choose generic mode without saying so; tcx links
//! it does not know. A link that is pinned in a bpffs outlives the process; its program can be replaced at once.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

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

/// Attaches a tc program to what the interface sends, after everything else there.
pub(crate) fn attach_tcx_egress(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    attach(program, ifindex, libbpf_sys::BPF_TCX_EGRESS, 0)
}

/// Attaches a program to the sockets of a control group and of all below it, beside whatever is there.
pub(crate) fn attach_cgroup(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    point: libbpf_sys::bpf_attach_type,
) -> io::Result<OwnedFd> {
    let cgroup = u32::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    attach(program, cgroup, point, 0)
}

/// Puts another program in place of a link's, between two packets.
pub(crate) fn replace_program(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open for the call, and no options are allowed to be null.
    let done =
        unsafe { libbpf_sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), ptr::null()) };
    answer(done).map(drop)
}

/// Gives a link a name in a bpffs, which keeps it.
pub(crate) fn pin(link: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the descriptor is open and the string ends with a zero; both outlive the call.
    answer(unsafe { libbpf_sys::bpf_obj_pin(link.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// Opens what has a name in a bpffs.
pub(crate) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the string ends with a zero and outlives the call.
    let fd = answer(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number by which the kernel tells the calling thread's network namespace from all others of this boot.
pub(crate) fn network_namespace_cookie() -> io::Result<u64> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `cookie` has the room that `length` says, and both outlive the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cookie)
}

/// libbpf returns the negative errno.
fn answer(returned: i32) -> io::Result<i32> {
    if returned < 0 {
        return Err(io::Error::from_raw_os_error(-returned));
    }
    Ok(returned)
}

/// `target` is an interface's index or the descriptor of a control group.
fn attach(
    program: BorrowedFd<'_>,
    target: u32,
    point: libbpf_sys::bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags,
        ..Default::default()
    };
    // SAFETY: both descriptors are open for the call, `options` carries its own size and outlives the call.
    let link =
        unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), target as i32, point, &options) };
    let link = answer(link)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}
