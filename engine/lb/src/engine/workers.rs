//! The engine's workers: how they are made, and what others see of them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lb_conn::{ConnTable, LocalPorts, Timeouts};
use lb_model::{NextHops, Port, Rss};
use lb_runtime::{
    Asker, Counters, Effort, HandOvers, Place, Resolver, SharedCounters, SharedEffort, Worker,
};

use super::Engine;

/// What others see of a worker.
pub(super) struct Known {
    counters: Arc<SharedCounters>,
    effort: Arc<SharedEffort>,
    asker: Asker,
}

impl Engine {
    /// The one worker, on `port`, whose next hops are the ones [set](Engine::set_next_hops) here; nobody is asked for
    /// others. What it does depends on nothing but what it is given.
    pub fn worker<P: Port>(&self, port: P) -> Worker<P> {
        let ports = LocalPorts::new(self.local_ports.clone(), 0);
        let next_hops = Arc::clone(&self.next_hops);
        self.make_worker(port, Place::alone(), ports, next_hops, Box::new(|_, _| ()))
    }

    /// Replies to local addresses come in on queues as `rss` says; to be said before workers are made. Of queue `q`
    /// it is taken that its worker is number `q` modulo the number of workers.
    pub fn set_rss(&self, rss: Rss) {
        // All workers must have the same, so the first one counts.
        let _ = self.rss.set(Arc::new(rss));
    }

    /// The places of so many workers that share the traffic.
    ///
    /// # Panics
    /// If there are none, or more than [`lb_conn::MAX_WORKERS`].
    pub fn places(&self, workers: u16) -> Vec<Place> {
        let places = Place::for_all(workers, self.capacity);
        let hand_overs = places.iter().flat_map(Place::hand_overs);
        self.hand_overs.lock().extend(hand_overs);
        places
    }

    /// A worker on `port` in one of the [places](Engine::places), which follows `next_hops` as somebody else renews them, and
    /// asks `resolver` for what is missing there. All workers' ports lie over the same packet memory. It leases local
    /// ports that no other leases.
    pub fn worker_with<P: Port>(
        &self,
        port: P,
        place: Place,
        next_hops: Arc<ArcSwap<NextHops>>,
        resolver: Resolver,
    ) -> Worker<P> {
        let (number, workers) = (place.number(), place.workers());
        let seed = RandomState::new().hash_one(number).max(1);
        let (range, place_of) = (self.local_ports.clone(), (number, workers));
        let ports = LocalPorts::of_worker(range, place_of, self.rss.get().cloned(), seed);
        self.make_worker(port, place, ports, next_hops, resolver)
    }

    fn make_worker<P: Port>(
        &self,
        port: P,
        place: Place,
        ports: LocalPorts,
        next_hops: Arc<ArcSwap<NextHops>>,
        resolver: Resolver,
    ) -> Worker<P> {
        let ports = ports.counted_in(Arc::clone(&self.local_uses));
        let conns = ConnTable::new(self.capacity, Timeouts::default(), ports);
        let worker = Worker::new(
            port,
            conns,
            place,
            Arc::clone(&self.snapshots),
            next_hops,
            resolver,
        );
        let known = Known {
            counters: worker.shared_counters(),
            effort: worker.shared_effort(),
            asker: worker.asker(),
        };
        self.workers.lock().push(known);
        self.table.lock().books().add(worker.traffic_book());
        worker
    }

    /// The counters of all workers, as of some recent turn of each.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for worker in self.workers.lock().iter() {
            sum.add(&worker.counters.load());
        }
        sum
    }

    /// The counters of each worker, as of some recent turn.
    pub fn worker_counters(&self) -> Vec<Counters> {
        let workers = self.workers.lock();
        workers
            .iter()
            .map(|worker| worker.counters.load())
            .collect()
    }

    /// What workers have handed to each other: one for each pair and direction.
    pub fn hand_overs(&self) -> Vec<Arc<HandOvers>> {
        self.hand_overs.lock().clone()
    }

    /// How much each worker has to do, as of some recent turn.
    pub fn worker_efforts(&self) -> Vec<Effort> {
        let workers = self.workers.lock();
        workers.iter().map(|worker| worker.effort.load()).collect()
    }

    /// Who asks each worker.
    pub fn askers(&self) -> Vec<Asker> {
        let workers = self.workers.lock();
        workers.iter().map(|worker| worker.asker.clone()).collect()
    }
}
