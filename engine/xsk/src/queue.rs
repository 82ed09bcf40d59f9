//! One AF_XDP socket: one queue of one interface, its four rings and what is on them.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use lb_model::{BATCH, Batch, InterfaceId};
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use crate::error::kernel_answer;
use crate::umem::{Chunk, Pool};

/// Below this many missing frames the fill ring is not worth the two shared cache lines of a top-up.
const TOP_UP: u32 = 32;

/// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h (since 6.17): packets that one wake-up sends in copy mode.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// More than a batch, so that one wake-up sends all of it and what an earlier one left.
const TX_BUDGET: u32 = 256;

/// Entries of the fill ring beside RX, TX and completion rings of `ring_size`.
///
/// Twice as many, so that a full RX ring leaves the kernel with chunks at hand. Otherwise it waits, at overload, for
/// each chunk that we give back and writes to it at once, while its lines are still in our cache: that costs a tenth
/// of the packet rate in copy mode.
pub(crate) const fn fill_size(ring_size: u32) -> u32 {
    2 * ring_size
}

/// A socket bound to one queue, owned by one port.
pub(crate) struct Queue {
    interface: InterfaceId,
    tx: TxQueue,
    rx: RxQueue,
    fill: FillQueue,
    completion: CompQueue,
    ring_size: u32,
    zero_copy: bool,
    /// Chunks on the fill and RX rings, or on their way from one to the other.
    receiving: u32,
    /// Chunks to be put on the TX ring.
    staged: Vec<Chunk>,
    /// How many more chunks the TX ring takes beside the staged ones, as last seen.
    room: u32,
    /// Chunks on the TX and completion rings, or on their way from one to the other.
    transmitting: u32,
    /// Whether the kernel may not yet have taken everything off the TX ring.
    unsent: bool,
    scratch: [FrameDesc; BATCH],
}

impl Queue {
    /// Makes a socket and binds it; `zero_copy` says how, and counts only for the first socket of a UMEM: the kernel
    /// binds the others alike.
    pub(crate) fn bind(
        umem: &Umem,
        interface: (InterfaceId, &str),
        queue: u32,
        ring_size: u32,
        zero_copy: bool,
    ) -> io::Result<Queue> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name: Interface = (interface.1.parse())
            .map_err(|error: std::ffi::NulError| invalid(error.to_string()))?;
        let size = QueueSize::new(ring_size).map_err(|error| invalid(error.to_string()))?;
        let mode = match zero_copy {
            true => BindFlags::XDP_ZEROCOPY,
            false => BindFlags::XDP_COPY,
        };
        let config = SocketConfig::builder()
            .rx_queue_size(size)
            .tx_queue_size(size)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        // SAFETY: loading of a program is inhibited, which is all that is asked for.
        let (tx, rx, rings) = unsafe { Socket::new(config, umem, &name, queue) }
            .map_err(|error| kernel_answer(&error))?;
        let (fill, completion) =
            rings.ok_or_else(|| io::Error::new(io::ErrorKind::ResourceBusy, "bound twice"))?;
        let fd = rx.fd().as_raw_fd();
        // A program that is started meanwhile, by a health check say, would keep the queue when we have let go of it.
        // SAFETY: plain fcntl(2); `rx` keeps the descriptor open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // Every packet on its way to a slow receiver counts against the socket's send buffer, which by default holds
        // fewer than a ring does. Where we may not raise it, the rest leaves with the next flush.
        let bytes = ring_size * SEND_BUFFER_PER_PACKET;
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes);
        Ok(Queue {
            interface: interface.0,
            zero_copy: is_zero_copy(fd)?,
            tx,
            rx,
            fill,
            completion,
            ring_size,
            receiving: 0,
            staged: Vec::with_capacity(BATCH),
            room: ring_size,
            transmitting: 0,
            unsent: false,
            scratch: [FrameDesc::default(); BATCH],
        })
    }

    /// Asks that one wake-up send more than 32 packets in copy mode; the granted number, or `None` if the kernel is
    /// too old to be asked.
    pub(crate) fn raise_tx_budget(&self) -> Option<u32> {
        set_option(self.fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, TX_BUDGET)
            .is_ok()
            .then_some(TX_BUDGET)
    }

    pub(crate) fn interface(&self) -> InterfaceId {
        self.interface
    }

    pub(crate) fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the queues of the socket, which `self` has.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }

    /// Chunks that the kernel has to receive into.
    pub(crate) fn receiving(&self) -> u32 {
        self.receiving
    }

    /// Chunks that the kernel has, or is about to have, to send.
    pub(crate) fn transmitting(&self) -> u32 {
        self.transmitting + self.staged.len() as u32
    }

    /// Whether the kernel has not taken everything yet that it shall send.
    pub(crate) fn is_unsent(&self) -> bool {
        self.unsent
    }

    /// Takes back what was sent.
    #[inline]
    pub(crate) fn reclaim(&mut self, pool: &mut Pool) {
        while self.transmitting > 0 {
            // SAFETY: the ring is of the UMEM that all descriptors are of.
            let sent = unsafe { self.completion.consume(&mut self.scratch) };
            self.transmitting -= sent as u32;
            // SAFETY: just taken from the completion ring, each once.
            let chunks = |desc| unsafe { Chunk::taken_from_ring(desc) };
            pool.free
                .extend(self.scratch[..sent].iter().copied().map(chunks));
            if sent < BATCH {
                break;
            }
        }
    }

    /// Gives the kernel free chunks to receive into.
    ///
    /// Never more than the fill ring holds, wherever the kernel has moved them since: there is always room on it.
    #[inline]
    pub(crate) fn top_up(&mut self, pool: &mut Pool) {
        let missing = fill_size(self.ring_size) - self.receiving;
        if missing >= TOP_UP {
            let kept = pool.free.len().saturating_sub(missing as usize);
            let descs = Chunk::descriptors(&pool.free[kept..]);
            // SAFETY: the descriptors are of this UMEM; the chunks are given up below, all or none as the ring took
            // all or none.
            let produced = unsafe { self.fill.produce(descs) };
            if produced > 0 {
                pool.free.truncate(kept);
            }
            self.receiving += produced as u32;
        }
        if self.fill.needs_wakeup() {
            self.wake_receiver();
        }
    }

    /// Lets the kernel poll the device, where it does that for this socket.
    pub(crate) fn poll_device(&self) {
        if self.zero_copy {
            self.wake_receiver();
        }
    }

    /// Moves received packets into `batch` as far as it has room; `marked` if there may be room in front of some.
    #[inline]
    pub(crate) fn receive(&mut self, batch: &mut Batch, pool: &mut Pool, marked: bool) {
        let wanted = batch.room().min(BATCH);
        // SAFETY: the ring is of the UMEM that all descriptors are of.
        let received = unsafe { self.rx.consume(&mut self.scratch[..wanted]) };
        self.receiving -= received as u32;
        for desc in &self.scratch[..received] {
            // SAFETY: just taken from the RX ring, each once.
            let chunk = unsafe { Chunk::taken_from_ring(*desc) };
            batch.push(pool.frame(chunk, marked), self.interface);
        }
    }

    /// Whether one more chunk can be staged.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        if self.room == 0 {
            self.room = self.tx.nb_free_exact() - self.staged.len() as u32;
        }
        self.room > 0
    }

    /// Queues a chunk for sending; there [has to be room](Queue::has_room).
    #[inline]
    pub(crate) fn stage(&mut self, chunk: Chunk) {
        debug_assert!(self.room > 0, "the caller asks for room first");
        self.room -= 1;
        self.staged.push(chunk);
        if self.staged.len() == BATCH {
            self.produce();
        }
    }

    /// Sees to it that the kernel sends what was staged: one wake-up, and in copy mode as many more as bring it on.
    ///
    /// What a full device or a dead peer leaves on the ring is tried again with the next flush.
    #[inline]
    pub(crate) fn flush(&mut self) {
        if !self.staged.is_empty() {
            self.produce();
        }
        if self.unsent {
            self.push_out();
        }
    }

    fn produce(&mut self) {
        // SAFETY: the descriptors are of this UMEM, and the chunks are given up below.
        let produced = unsafe { self.tx.produce(Chunk::descriptors(&self.staged)) };
        assert_eq!(
            produced,
            self.staged.len(),
            "staged only as far as there is room"
        );
        self.staged.clear();
        self.transmitting += produced as u32;
        self.unsent = true;
    }

    fn push_out(&mut self) {
        let mut left = self.on_tx_ring();
        while left > 0 && self.tx.needs_wakeup() {
            self.wake_sender();
            let before = left;
            left = self.on_tx_ring();
            // In zero-copy mode the device sends when it can. In copy mode the kernel has done what it could within
            // the call: another brings more unless the last brought nothing.
            if self.zero_copy || left == before {
                break;
            }
        }
        self.unsent = left > 0;
    }

    fn on_tx_ring(&mut self) -> u32 {
        self.ring_size - self.tx.nb_free_exact()
    }

    fn wake_sender(&self) {
        // SAFETY: no memory is passed. Errors are left to the caller's look at the ring: a busy device, an exhausted
        // budget and a link that is down all mean "later".
        unsafe {
            libc::sendto(
                self.fd(),
                ptr::null(),
                0,
                libc::MSG_DONTWAIT,
                ptr::null(),
                0,
            )
        };
    }

    fn wake_receiver(&self) {
        // SAFETY: no memory is passed. There is nothing to be done about an error but to try again next turn.
        unsafe {
            libc::recvfrom(
                self.fd(),
                ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
    }
}

/// A small packet counts as some 800 bytes, a full one as some 2,500; the kernel doubles what it is told.
const SEND_BUFFER_PER_PACKET: u32 = 2048;

pub(crate) fn set_option(
    fd: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: u32,
) -> io::Result<()> {
    // SAFETY: `value` is as long as said and outlives the call.
    let answer = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_zero_copy(fd: RawFd) -> io::Result<bool> {
    let mut flags = 0_u32;
    let mut len = size_of::<u32>() as libc::socklen_t;
    // SAFETY: `flags` is as long as `len` says, and both outlive the call.
    let answer = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_XDP,
            libc::XDP_OPTIONS,
            (&raw mut flags).cast(),
            &mut len,
        )
    };
    match answer {
        0 => Ok(flags & libc::XDP_OPTIONS_ZEROCOPY != 0),
        _ => Err(io::Error::last_os_error()),
    }
}
