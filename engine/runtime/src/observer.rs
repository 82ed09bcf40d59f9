//! Who sees a worker's packets.

use lb_model::{Conn, Mode, Packet, Time, VirtualService};

/// A packet, and what is known about it.
pub struct Observed<'a> {
    /// When it came.
    pub now: Time,
    /// Its position in the batch.
    pub position: usize,
    /// The packet; at its end the verdict says how it ends.
    pub packet: &'a Packet,
    /// The conn it belongs to.
    pub conn: Option<Conn<'a>>,
    /// The service it is addressed to.
    pub service: Option<&'a VirtualService>,
    /// The mode of its conn.
    pub mode: Option<&'a dyn Mode>,
}

/// Sees every packet of a worker; a closure that takes what is seen at a packet's end is one.
pub trait Observer: Send {
    /// A packet as it came in, once its conn is known and before it is rewritten.
    fn received(&mut self, seen: &Observed<'_>) {
        let _ = seen;
    }

    /// A packet at its end, with what was decided about it.
    fn ended(&mut self, seen: &Observed<'_>);

    /// Whether it has seen enough.
    fn is_done(&self) -> bool {
        false
    }
}

impl<F: FnMut(&Observed<'_>) + Send> Observer for F {
    fn ended(&mut self, seen: &Observed<'_>) {
        self(seen);
    }
}
