//! Sleeping until one of several sockets has something to receive, or another thread says that there is something else to do.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

/// What another thread ends a sleep with.
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    pub(crate) fn new() -> io::Result<Alarm> {
        Ok(Alarm(eventfd(
            0,
            EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
        )?))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Ends the sleep, or the next one.
    pub(crate) fn start(&self) {
        // It fails only if it was started 2^64 times, and then it has been.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// The next sleep is not ended by what was before.
    pub(crate) fn stop(&self) {
        // It fails if the alarm was not started, and then there is nothing to stop.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

/// The sockets and alarms to sleep on.
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

    /// Returns when a socket has something to receive, when `timeout` is over, or on a signal; whether the last of the
    /// descriptors has something.
    pub(crate) fn wait(&mut self, timeout: Duration) -> bool {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: the array is as long as said, and it and the time outlive the call. A descriptor that were closed
        // would only be reported as such.
        let ready = unsafe {
            libc::ppoll(
                self.0.as_mut_ptr(),
                self.0.len() as libc::nfds_t,
                &timeout,
                ptr::null(),
            )
        };
        // What each has is only said if any has something.
        ready > 0 && self.0.last().is_some_and(|last| last.revents != 0)
    }
}
