//! What the kernel counts about each queue's socket, for as long as there are sockets.

use lb_xsk::{RingStatistics, SocketStatistics};
use parking_lot::Mutex;

/// The sockets of a balancer, to be asked from any thread.
#[derive(Default)]
pub struct Sockets(Mutex<Vec<SocketStatistics>>);

impl Sockets {
    pub(super) fn new(sockets: Vec<SocketStatistics>) -> Sockets {
        Sockets(Mutex::new(sockets))
    }

    /// What the kernel counts: for each interface and queue. Nothing once the balancer has ended.
    pub fn statistics(&self) -> Vec<(String, u32, RingStatistics)> {
        let sockets = self.0.lock();
        let told = sockets.iter().filter_map(|socket| {
            let rings = socket.read().ok()?;
            Some((socket.interface.clone(), socket.queue, rings))
        });
        told.collect()
    }

    /// Lets the sockets end, which live as long as somebody can ask about them.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}
