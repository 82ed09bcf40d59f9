//! What a worker receives from and sends to.

use std::sync::Arc;
use std::time::Duration;

use crate::{Batch, Frame, InterfaceId};

/// Ends a [`Port::wait`] on another thread, or the next one if there is none.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// One worker's share of all interfaces: on AF_XDP its queue of each, in tests memory, in a replay a capture.
///
/// Every frame that [`receive`](Port::receive) hands out comes back through exactly one of
/// [`transmit`](Port::transmit), [`punt`](Port::punt) and [`release`](Port::release).
pub trait Port {
    /// Reclaims finished transmissions, tops up the receive side and pushes received packets into `batch`
    /// as far as it has room.
    fn receive(&mut self, batch: &mut Batch);

    /// Queues a frame for transmission on `egress`; gives it back if the queue has no room.
    fn transmit(&mut self, egress: InterfaceId, frame: Frame) -> Result<(), Frame>;

    /// Hands a frame that came in on `ingress` to the kernel unchanged; gives it back if the kernel did not
    /// take it.
    fn punt(&mut self, ingress: InterfaceId, frame: Frame) -> Result<(), Frame>;

    /// A free frame for a packet that did not come from the port; it goes back like a received one. `None` if there is
    /// none free.
    fn spare(&mut self) -> Option<Frame> {
        None
    }

    /// Takes back a frame whose packet ends here.
    fn release(&mut self, frame: Frame);

    /// Counts a held frame out: a port over the same packet memory [adopts](Port::adopt) it. A port that shares its memory
    /// with no other need not know how.
    fn give_away(&mut self, _frame: &Frame) {}

    /// Counts a frame in that another port over the same packet memory has given away; it goes back here like a received
    /// one.
    fn adopt(&mut self, _frame: &Frame) {}

    /// Sees to it that what was queued leaves, all of it; called at the end of every turn, idle ones too.
    fn flush(&mut self);

    /// Sleeps until something was received or `timeout` is over.
    fn wait(&mut self, timeout: Duration);

    /// What ends [`wait`](Port::wait); `None` where that does not sleep.
    fn waker(&self) -> Option<Waker> {
        None
    }

    /// Where the port's frames are now.
    fn census(&self) -> FrameCensus;
}

/// Where the frames of a port are; `total` is the sum of the others, always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameCensus {
    /// All frames of this port, adopted ones included and given away ones not.
    pub total: u64,
    /// Free, in the port's pool.
    pub free: u64,
    /// Given to the kernel to receive into: on the fill and RX rings.
    pub receiving: u64,
    /// Given to the kernel to send: on the TX and completion rings.
    pub transmitting: u64,
    /// Handed out by [`Port::receive`], or adopted, and not yet back.
    pub held: u64,
}

impl FrameCensus {
    /// Whether every frame is accounted for.
    pub fn is_conserved(&self) -> bool {
        self.total == self.free + self.receiving + self.transmitting + self.held
    }
}
