//! What the kernel counts about each socket: packets that it could not give us, descriptors that it could not use.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `struct xdp_statistics` of linux/if_xdp.h.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RingStatistics {
    /// Packets dropped for other reasons than a full ring: they did not fit a chunk, most likely.
    pub rx_dropped: u64,
    /// Descriptors on the fill ring that the kernel could not use.
    pub rx_invalid: u64,
    /// Descriptors on the TX ring that the kernel could not use.
    pub tx_invalid: u64,
    /// Packets dropped because the RX ring was full: the worker did not keep up.
    pub rx_ring_full: u64,
    /// How often there was no chunk to receive into.
    pub fill_ring_empty: u64,
    /// How often there was nothing to send.
    pub tx_ring_empty: u64,
}

/// One socket's statistics. While it lives the socket does, and keeps its queue.
#[derive(Debug)]
pub struct SocketStatistics {
    /// The interface.
    pub interface: String,
    /// The queue.
    pub queue: u32,
    socket: OwnedFd,
}

impl SocketStatistics {
    pub(crate) fn of(
        interface: &str,
        queue: u32,
        socket: BorrowedFd<'_>,
    ) -> io::Result<SocketStatistics> {
        Ok(SocketStatistics {
            interface: interface.to_owned(),
            queue,
            socket: socket.try_clone_to_owned()?,
        })
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// As they are now.
    pub fn read(&self) -> io::Result<RingStatistics> {
        let mut words = [0_u64; 6];
        let mut len = size_of_val(&words) as libc::socklen_t;
        // SAFETY: `words` is as long as `len` says, and both outlive the call. A kernel older than the last three writes
        // less, and they stay zero.
        let answer = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_XDP,
                libc::XDP_STATISTICS,
                words.as_mut_ptr().cast(),
                &mut len,
            )
        };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        let [
            rx_dropped,
            rx_invalid,
            tx_invalid,
            rx_ring_full,
            fill_ring_empty,
            tx_ring_empty,
        ] = words;
        Ok(RingStatistics {
            rx_dropped,
            rx_invalid,
            tx_invalid,
            rx_ring_full,
            fill_ring_empty,
            tx_ring_empty,
        })
    }
}
