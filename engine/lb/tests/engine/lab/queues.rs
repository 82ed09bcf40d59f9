//! The lab with several workers: each frame comes in on the queue that the test says.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lb::{Config, Counter, Engine, InterfaceId, Port, Rss, ServiceConfig, Time, Worker};
use lb_testkit::{MemoryPort, PacketBuilder};

use super::*;

/// Frames of each worker.
const FRAMES: u32 = 2048;

pub struct Queues {
    pub engine: Engine,
    pub workers: Vec<Worker<MemoryPort>>,
    pub now: Time,
}

/// A frame that was sent, by which worker and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    pub worker: usize,
    pub egress: InterfaceId,
    pub bytes: Vec<u8>,
}

impl Queues {
    pub fn new(workers: u16, services: Vec<ServiceConfig>) -> Queues {
        let mut config = Config {
            services,
            ..Config::default()
        };
        config.engine.capacity = 1000;
        Queues::with_config(workers, &config)
    }

    pub fn with_config(workers: u16, config: &Config) -> Queues {
        Queues::on_nic(workers, config, None)
    }

    /// On a NIC that chooses queues like this, if it tells.
    pub fn on_nic(workers: u16, config: &Config, rss: Option<Rss>) -> Queues {
        let engine = Engine::new(config).expect("a valid configuration");
        if let Some(rss) = rss {
            engine.set_rss(rss);
        }
        let next_hops = Arc::new(ArcSwap::from_pointee(Lab::next_hops()));
        let worker = |place| {
            let hops = Arc::clone(&next_hops);
            engine.worker_with(MemoryPort::new(FRAMES), place, hops, Box::new(|_, _| ()))
        };
        Queues {
            workers: engine.places(workers).into_iter().map(worker).collect(),
            engine,
            now: Time::ZERO,
        }
    }

    /// Lets a frame come in on a queue of the clients' side; a turn takes it.
    pub fn client_sends(&mut self, queue: usize, packet: &PacketBuilder) {
        let port = self.workers[queue].port_mut();
        assert!(port.inject(ETH0, &packet.bytes()), "a free frame");
    }

    /// Lets a frame come in on a queue of the servers' side; a turn takes it.
    pub fn server_sends(&mut self, queue: usize, packet: &PacketBuilder) {
        let port = self.workers[queue].port_mut();
        assert!(port.inject(ETH1, &packet.bytes()), "a free frame");
    }

    /// One turn of one worker.
    pub fn turn(&mut self, worker: usize) -> usize {
        self.workers[worker].turn(self.now).received
    }

    /// Turns of all workers until nothing is left to do, and what was sent meanwhile.
    pub fn settle(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let received: usize = (0..self.workers.len()).map(|w| self.turn(w)).sum();
            for (worker, w) in self.workers.iter_mut().enumerate() {
                let frames = std::iter::from_fn(|| w.port_mut().take_sent());
                sent.extend(frames.map(|(egress, bytes)| Sent {
                    worker,
                    egress,
                    bytes,
                }));
            }
            if received == 0 {
                return sent;
            }
        }
    }

    /// A client's packet on this queue, and all that is sent because of it.
    pub fn inbound(&mut self, queue: usize, packet: &PacketBuilder) -> Vec<Sent> {
        self.client_sends(queue, packet);
        self.settle()
    }

    /// A server's packet on this queue, and all that is sent because of it.
    pub fn outbound(&mut self, queue: usize, packet: &PacketBuilder) -> Vec<Sent> {
        self.server_sends(queue, packet);
        self.settle()
    }

    /// A counter of one worker.
    pub fn counted(&self, worker: usize, counter: Counter) -> u64 {
        self.workers[worker].counters().of(counter)
    }

    /// A counter of all workers.
    pub fn counted_by_all(&self, counter: Counter) -> u64 {
        let workers = 0..self.workers.len();
        workers.map(|worker| self.counted(worker, counter)).sum()
    }
}

impl Drop for Queues {
    /// Every frame is accounted for at the end of every test, whoever has it now.
    fn drop(&mut self) {
        let workers = self.workers.len() as u64;
        let mut total = 0;
        for worker in self.workers.drain(..) {
            let mut port = worker.into_port();
            while port.take_sent().is_some() {}
            let census = port.census();
            total += census.total;
            if !std::thread::panicking() {
                assert!(
                    census.is_conserved()
                        && census.held == 0
                        && census.free + census.receiving == census.total,
                    "{census:?}"
                );
            }
        }
        if !std::thread::panicking() {
            assert_eq!(total, workers * u64::from(FRAMES));
        }
    }
}
