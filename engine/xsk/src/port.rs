//! One worker's sockets as a [`Port`].

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lb_model::{Batch, Frame, FrameCensus, InterfaceId, Port, Waker};

use crate::queue::Queue;
use crate::tap::Tap;
use crate::umem::Pool;
use crate::wait::{Alarm, Poller};

/// How long a worker sleeps at most while the kernel has not yet taken everything it shall send.
const UNSENT_WAIT: Duration = Duration::from_millis(1);

/// How often [`XskPort::close`] looks for what is still being sent, a millisecond apart.
const CLOSE_TRIES: u32 = 100;

/// One worker's queues of all interfaces; it moves to the worker's thread, and frames move between it and the others.
pub struct XskPort {
    queues: Vec<Queue>,
    /// The queue to send on, for each interface.
    egress: Vec<usize>,
    pool: Pool,
    tap: Option<Arc<Tap>>,
    /// Whether any service has asked the steering program for room in front of its frames.
    marked: Arc<AtomicBool>,
    /// The queue that is asked first for received packets; it changes every turn, so that a busy one starves no other.
    first: usize,
    rest: Rest,
}

/// What a port does while there is nothing to receive.
enum Rest {
    /// It sleeps, until a socket has something or the alarm goes off.
    Sleep(Poller, Arc<Alarm>),
    /// It looks again.
    Poll,
}

impl XskPort {
    /// A port over `queues`, which have at least one of every interface, with the chunks of `pool`; without an alarm it
    /// never sleeps.
    pub(crate) fn new(
        queues: Vec<Queue>,
        pool: Pool,
        tap: Option<Arc<Tap>>,
        marked: Arc<AtomicBool>,
        alarm: Option<Alarm>,
    ) -> XskPort {
        let interfaces = queues
            .iter()
            .map(|queue| usize::from(queue.interface().0) + 1)
            .max()
            .unwrap_or(0);
        let egress = (0..interfaces)
            .map(|interface| {
                queues
                    .iter()
                    .position(|queue| usize::from(queue.interface().0) == interface)
                    .expect("every port has a queue of every interface")
            })
            .collect();
        let mut port = XskPort {
            rest: match alarm {
                Some(alarm) => {
                    let watched = queues.iter().map(Queue::fd).chain([alarm.fd()]);
                    Rest::Sleep(Poller::new(watched), Arc::new(alarm))
                }
                None => Rest::Poll,
            },
            queues,
            egress,
            pool,
            tap,
            marked,
            first: 0,
        };
        port.top_up();
        port
    }

    /// Ends the port and says where its frames were.
    ///
    /// What was queued is sent first, and what was received but not fetched is given up. When all went well, `held`
    /// and `transmitting` are zero; `receiving` is what lies on the fill rings, which the kernel gives up with the
    /// sockets. `transmitting` is not zero when a device did not send for a tenth of a second; frames that are still
    /// `held` keep their memory mapped for good.
    ///
    /// Stop the steering first (drop [`Control`](crate::Control)), or packets received from now on are lost.
    pub fn close(mut self) -> FrameCensus {
        for _ in 0..CLOSE_TRIES {
            self.flush();
            self.reclaim();
            if self.queues.iter().all(|queue| queue.transmitting() == 0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut batch = Batch::new();
        loop {
            for queue in &mut self.queues {
                queue.receive(&mut batch, &mut self.pool, false);
            }
            if batch.is_empty() {
                break;
            }
            for packet in batch.drain() {
                self.release(packet.frame);
            }
        }
        FrameCensus {
            // Counted anew: a chunk that is there twice is a missing one.
            free: self.pool.count_free(),
            ..self.census()
        }
    }

    fn reclaim(&mut self) {
        for queue in &mut self.queues {
            queue.reclaim(&mut self.pool);
        }
    }

    fn top_up(&mut self) {
        for queue in &mut self.queues {
            queue.top_up(&mut self.pool);
        }
    }
}

impl Port for XskPort {
    fn receive(&mut self, batch: &mut Batch) {
        self.reclaim();
        self.top_up();
        let marked = self.marked.load(Ordering::Relaxed);
        let (before, from) = self.queues.split_at_mut(self.first);
        for queue in from.iter_mut().chain(before) {
            if batch.room() == 0 {
                break;
            }
            queue.receive(batch, &mut self.pool, marked);
        }
        self.first = (self.first + 1) % self.queues.len();
    }

    fn transmit(&mut self, egress: InterfaceId, mut frame: Frame) -> Result<(), Frame> {
        let queue = &mut self.queues[self.egress[usize::from(egress.0)]];
        if !queue.has_room() {
            return Err(frame);
        }
        // Room that was opened and not used: descriptors cannot be moved, so the packet is.
        frame.settle();
        queue.stage(self.pool.chunk(frame));
        Ok(())
    }

    fn punt(&mut self, _ingress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        match &self.tap {
            Some(tap) if tap.write(frame.bytes()).is_ok() => {
                self.release(frame);
                Ok(())
            }
            _ => Err(frame),
        }
    }

    fn spare(&mut self) -> Option<Frame> {
        let chunk = self.pool.free.pop()?;
        Some(self.pool.frame(chunk, false))
    }

    fn release(&mut self, frame: Frame) {
        let chunk = self.pool.chunk(frame);
        self.pool.free.push(chunk);
    }

    fn flush(&mut self) {
        for queue in &mut self.queues {
            queue.flush();
        }
    }

    fn wait(&mut self, timeout: Duration) {
        match &mut self.rest {
            Rest::Sleep(poller, alarm) => {
                let unsent = self.queues.iter().any(Queue::is_unsent);
                let is_alarmed = poller.wait(if unsent {
                    timeout.min(UNSENT_WAIT)
                } else {
                    timeout
                });
                // One that starts after that ends the next sleep.
                if is_alarmed {
                    alarm.stop();
                }
            }
            Rest::Poll => {
                self.queues.iter().for_each(Queue::poll_device);
                hint::spin_loop();
            }
        }
    }

    fn waker(&self) -> Option<Waker> {
        match &self.rest {
            Rest::Sleep(_, alarm) => {
                let alarm = Arc::clone(alarm);
                Some(Arc::new(move || alarm.start()))
            }
            Rest::Poll => None,
        }
    }

    fn give_away(&mut self, _frame: &Frame) {
        self.pool.give_away();
    }

    fn adopt(&mut self, _frame: &Frame) {
        self.pool.adopt();
    }

    fn census(&self) -> FrameCensus {
        let sum = |count: fn(&Queue) -> u32| self.queues.iter().map(count).map(u64::from).sum();
        FrameCensus {
            total: self.pool.total(),
            free: self.pool.free.len() as u64,
            receiving: sum(Queue::receiving),
            transmitting: sum(Queue::transmitting),
            held: self.pool.held(),
        }
    }
}
