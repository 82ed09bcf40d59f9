//! What the kernel counts about each queue's socket, for as long as there are sockets.

use lb_xsk::{QueueReport, RingStatistics, SocketStatistics, Waiting};
use parking_lot::Mutex;

/// The sockets of a balancer, to be asked from any thread.
pub struct Sockets {
    statistics: Mutex<Vec<SocketStatistics>>,
    busy_poll: bool,
}

impl Sockets {
    pub(super) fn new(statistics: Vec<SocketStatistics>, queues: &[QueueReport]) -> Sockets {
        Sockets {
            statistics: Mutex::new(statistics),
            busy_poll: queues.iter().any(|queue| queue.waiting != Waiting::Sleeps),
        }
    }

    /// Whether workers look for packets all the time: the kernel may have refused what the configuration asked for.
    pub fn busy_poll(&self) -> bool {
        self.busy_poll
    }

    /// What the kernel counts: for each interface and queue. Nothing once the balancer has ended.
    pub fn statistics(&self) -> Vec<(String, u32, RingStatistics)> {
        let sockets = self.statistics.lock();
        let told = sockets.iter().filter_map(|socket| {
            let rings = socket.read().ok()?;
            Some((socket.interface.clone(), socket.queue, rings))
        });
        told.collect()
    }

    /// Lets the sockets end, which live as long as somebody can ask about them.
    pub(super) fn forget(&self) {
        self.statistics.lock().clear();
    }
}
