//! Asks the kernel to poll a device on a socket's behalf, in place of being interrupted by it.
//!
//! Linux has it in Documentation/networking/napi.rst. The call that wakes the receive side is then also the one that runs
//! the driver's poll function, on the caller's CPU.

use std::io;
use std::os::fd::RawFd;

use lb_model::BATCH;

use crate::queue::set_option;

/// Switches polling on; how long is of no account, for an AF_XDP socket has its device polled once with each call.
const MICROSECONDS: u32 = 20;

/// Asks for it. The kernel has the first of the options last (since 5.11), so one that refuses has been asked for nothing.
pub(crate) fn prefer(socket: RawFd) -> io::Result<()> {
    let options = [
        (libc::SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, MICROSECONDS),
        // Packets that the driver may bring with one poll: as many as a worker takes at a time.
        (libc::SO_BUSY_POLL_BUDGET, BATCH as u32),
    ];
    options
        .into_iter()
        .try_for_each(|(option, value)| set_option(socket, libc::SOL_SOCKET, option, value))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_kernel_takes_it_of_who_may_and_refuses_it_of_others() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let may = rustix::process::geteuid().is_root();
        let answer = prefer(socket.as_raw_fd()).map_err(|error| error.kind());
        assert!(
            answer == Ok(()) || !may && answer == Err(io::ErrorKind::PermissionDenied),
            "{answer:?}"
        );
        let no_socket = File::open("/dev/null").expect("a file");
        assert!(prefer(no_socket.as_raw_fd()).is_err());
    }
}
