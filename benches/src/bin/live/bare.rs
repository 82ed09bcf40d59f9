//! A bare AF_XDP forwarder: what comes in on one interface goes out on the other, with its MAC addresses swapped.
//!
//! It stands for the best that anything on such sockets can do here, so it shares nothing with `lb-xsk`: two sockets on
//! one UMEM, batches, one wake-up a batch, and no thought for anything else.

#![allow(unsafe_code)]

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use lb_bpf::Redirect;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{SendFlags, send};
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use crate::arena::interface_index;

/// What it says when packets are being forwarded.
pub const READY: &str = "forwarding";

const BATCH: usize = 64;
/// As `lbd`'s, so that both see as much of the cache.
const RING: u32 = 2048;
/// For each socket, a ring to receive into and one to send from.
const FRAMES: u32 = 2 * 2 * RING;
const FRAME_SIZE: u32 = 2048;

/// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h; without it a wake-up sends 32 packets, half a batch.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
const TX_BUDGET: u32 = 256;
/// Packets in flight count some 800 bytes each against the send buffer, and the kernel doubles what it is told.
const SEND_BUFFER: usize = RING as usize * 1024;

/// The kernel lets go of a closed AF_XDP socket's queue only some time later.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Forwards between two interfaces with one queue each, until the process is killed.
pub fn forward(interfaces: [&str; 2]) -> anyhow::Result<()> {
    let config = UmemConfig::builder()
        .frame_size(FrameSize::new(FRAME_SIZE)?)
        .fill_queue_size(QueueSize::new(RING)?)
        .comp_queue_size(QueueSize::new(RING)?)
        .build()?;
    let frames = NonZeroU32::new(FRAMES).expect("a constant");
    let (umem, mut free) =
        Umem::new(config, frames, false).map_err(|error| anyhow!("packet memory: {error}"))?;
    let mut front = Side::bind(&umem, interfaces[0])?;
    let mut back = Side::bind(&umem, interfaces[1])?;
    let _programs = (front.redirect()?, back.redirect()?);
    println!("{READY}");
    loop {
        let moved = step(&umem, &mut front, &mut back, &mut free)
            + step(&umem, &mut back, &mut front, &mut free);
        if moved == 0 {
            wait(&front, &back)?;
        }
    }
}

/// One batch from one side to the other; how many frames that were.
fn step(umem: &Umem, from: &mut Side, to: &mut Side, free: &mut Vec<FrameDesc>) -> usize {
    to.reclaim(free);
    from.supply(free);
    let mut batch = [FrameDesc::default(); BATCH];
    // SAFETY: the ring is of this UMEM.
    let received = unsafe { from.rx.consume(&mut batch) };
    let batch = &mut batch[..received];
    from.receiving -= received as u32;
    for desc in &mut *batch {
        // SAFETY: the descriptor was just taken from the RX ring of this UMEM; nobody else has its frame.
        let mut data = unsafe { umem.data_mut(desc) };
        if let Some((destination, rest)) = data.contents_mut().split_at_mut_checked(6)
            && let Some(source) = rest.get_mut(..6)
        {
            destination.swap_with_slice(source);
        }
    }
    to.send(batch, free);
    received
}

fn wait(front: &Side, back: &Side) -> io::Result<()> {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    let mut sockets =
        [front, back].map(|side| PollFd::from_borrowed_fd(side.socket(), PollFlags::IN));
    poll(&mut sockets, Some(&timeout))?;
    Ok(())
}

/// One interface's socket.
struct Side {
    interface: String,
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    /// Frames on the fill and RX rings.
    receiving: u32,
    /// Frames on the TX and completion rings.
    sending: u32,
}

impl Side {
    fn bind(umem: &Umem, interface: &str) -> anyhow::Result<Side> {
        let name: Interface = interface.parse()?;
        let config = SocketConfig::builder()
            .rx_queue_size(QueueSize::new(RING)?)
            .tx_queue_size(QueueSize::new(RING)?)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        let give_up = Instant::now() + BUSY_LIMIT;
        let (tx, rx, rings) = loop {
            // SAFETY: loading of a program is inhibited, which is all that is asked for.
            match unsafe { Socket::new(config, umem, &name, 0) } {
                Err(error) if Instant::now() > give_up => bail!("{interface}: {error}"),
                Err(_) => std::thread::sleep(BUSY_PAUSE),
                Ok(socket) => break socket,
            }
        };
        let (fill, completion) = rings.context("bound twice")?;
        let side = Side {
            interface: interface.to_owned(),
            rx,
            tx,
            fill,
            completion,
            receiving: 0,
            sending: 0,
        };
        set_socket_send_buffer_size_force(side.socket(), SEND_BUFFER)?;
        side.raise_tx_budget();
        Ok(side)
    }

    fn redirect(&self) -> anyhow::Result<Redirect> {
        Ok(Redirect::attach(
            interface_index(&self.interface)?,
            self.socket(),
        )?)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the queues of the socket, which `self` has.
        unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) }
    }

    /// Kernels before 6.17 do not know the option; then `send` wakes the kernel twice.
    fn raise_tx_budget(&self) {
        let budget = TX_BUDGET;
        // SAFETY: the value is as long as said and outlives the call.
        unsafe {
            libc::setsockopt(
                self.rx.fd().as_raw_fd(),
                libc::SOL_XDP,
                XDP_MAX_TX_SKB_BUDGET,
                (&raw const budget).cast(),
                size_of::<u32>() as libc::socklen_t,
            )
        };
    }

    /// Takes back frames that were sent.
    fn reclaim(&mut self, free: &mut Vec<FrameDesc>) {
        let mut sent = [FrameDesc::default(); BATCH];
        while self.sending > 0 {
            // SAFETY: the ring is of the UMEM that all frames are of.
            let count = unsafe { self.completion.consume(&mut sent) };
            self.sending -= count as u32;
            free.extend_from_slice(&sent[..count]);
            if count < BATCH {
                break;
            }
        }
    }

    /// Gives the kernel frames to receive into, a batch at a time.
    fn supply(&mut self, free: &mut Vec<FrameDesc>) {
        while self.receiving + BATCH as u32 <= RING && free.len() >= BATCH {
            let kept = free.len() - BATCH;
            // SAFETY: the frames are of this UMEM, were free, and are not from now on if the ring takes them.
            if unsafe { self.fill.produce(&free[kept..]) } == 0 {
                break;
            }
            free.truncate(kept);
            self.receiving += BATCH as u32;
        }
    }

    /// Sends a batch, or drops it where the ring is full.
    fn send(&mut self, batch: &[FrameDesc], free: &mut Vec<FrameDesc>) {
        // SAFETY: the frames are of this UMEM, and were just taken off the other side's ring.
        let sent = unsafe { self.tx.produce(batch) };
        free.extend_from_slice(&batch[sent..]);
        self.sending += sent as u32;
        let mut left = self.unsent();
        while left > 0 {
            // An error is no more than "later", and shows in what is left.
            let _ = send(self.socket(), &[], SendFlags::DONTWAIT);
            let before = left;
            left = self.unsent();
            if left == before {
                break;
            }
        }
    }

    fn unsent(&mut self) -> u32 {
        match self.sending {
            0 => 0,
            _ => RING - self.tx.nb_free_exact(),
        }
    }
}
