//! Sleeping until one of several sockets has something to receive.

#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

/// The sockets to sleep on.
pub(crate) struct Poller(Vec<libc::pollfd>);

impl Poller {
    /// The caller keeps the descriptors open as long as it calls [`wait`](Poller::wait).
    pub(crate) fn new(sockets: impl Iterator<Item = RawFd>) -> Poller {
        let watched = sockets.map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        Poller(watched.collect())
    }

    /// Returns when a socket has something to receive, when `timeout` is over, or on a signal.
    pub(crate) fn wait(&mut self, timeout: Duration) {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: the array is as long as said, and it and the time outlive the call. A descriptor that were closed
        // would only be reported as such.
        unsafe {
            libc::ppoll(
                self.0.as_mut_ptr(),
                self.0.len() as libc::nfds_t,
                &timeout,
                ptr::null(),
            )
        };
    }
}
