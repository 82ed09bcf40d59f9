//! The way back to the kernel: a tap device into which we write what was steered to us but is not ours.
//!
//! The kernel receives such a frame as from any other device. The device exists as long as the engine.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use lb_model::Mac;
use rustix::io::fcntl_dupfd_cloexec;

use crate::netdev::{Requests, named, request_of};

/// A tap device, up, with no addresses of any kind.
#[derive(Debug)]
pub(crate) struct Tap {
    file: File,
    name: String,
    mac: Mac,
}

impl Tap {
    /// Makes the device in the namespace the process is in; `%d` in `name` becomes the first free number. Its descriptor
    /// is above `others`, which are those of the sockets and programs.
    ///
    /// So it ends before them when the process is killed: the kernel goes up through a dead process's descriptors
    /// (`close_files`) and puts the end of each in front of those that it has put off already (`task_work_add`). It takes
    /// the device, and VIPs on it, some 30 ms to go. A kernel that still has a VIP, and no longer any program that keeps
    /// the VIP's packets from it, would answer them with RST.
    pub(crate) fn create<'a>(
        name: &str,
        others: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<Tap> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            // A worker would rather lose a frame than wait.
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        let highest = others.map(|other| other.as_raw_fd()).max();
        let above = highest.map_or(0, |highest| highest + 1);
        let file = File::from(fcntl_dupfd_cloexec(&file, above)?);
        let mut request = named(name)?;
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
        request_of(file.as_raw_fd(), libc::TUNSETIFF, &mut request)?;
        // SAFETY: TUNSETIFF writes the device's name, ended by a zero.
        let name = unsafe { CStr::from_ptr(request.ifr_name.as_ptr()) };
        let name = name.to_string_lossy().into_owned();
        quiet(&name)?;
        let requests = Requests::new()?;
        requests.set_up(&name, libc::IFF_NOARP)?;
        let mac = requests.mac(&name)?;
        Ok(Tap { file, name, mac })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Lets the kernel receive `frame` as addressed to this machine, which it was: the steering program takes no
    /// others.
    pub(crate) fn write(&self, frame: &[u8]) -> io::Result<()> {
        let rest = frame.get(self.mac.0.len()..).unwrap_or_default();
        // A tap takes a frame whole or not at all.
        (&self.file)
            .write_vectored(&[IoSlice::new(&self.mac.0), IoSlice::new(rest)])
            .map(drop)
    }
}

/// Keeps the kernel from dropping what comes out of the device, and from sending anything of its own into it.
fn quiet(name: &str) -> io::Result<()> {
    // What we write came in elsewhere, so a strict reverse-path check would drop it. The kernel takes the larger of
    // the values for all devices and for this one: 0 off, 1 strict, 2 any interface will do.
    let all = fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter")?;
    let rp_filter = if all.trim() == "0" { "0" } else { "2" };
    fs::write(
        format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"),
        rp_filter,
    )?;
    // No link-local address, so no router solicitations. Where the kernel has no IPv6 there is nothing to keep quiet.
    match fs::write(format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"), "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
