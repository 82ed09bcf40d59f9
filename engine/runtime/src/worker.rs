//! One worker: a port, a connection table, and the turn that joins them.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use arc_swap::{ArcSwap, Cache};
use lb_conn::ConnTable;
use lb_model::{Addr, BATCH, Batch, Frame, HopCache, InterfaceId, NextHops, Port, Time, Verdict};

use crate::answer::Limiter;
use crate::counters::{Counter, Counters, SharedCounters};
use crate::crew::{Crew, Place};
use crate::decisions::Decisions;
use crate::effort::{Effort, Meter, SharedEffort};
use crate::fragments::Fragments;
use crate::held::Held;
use crate::observer::{Observed, Observer};
use crate::paths::Paths;
use crate::questions::{Asker, Inside, Questions};
use crate::schedulers::Schedulers;
use crate::snapshot::Snapshot;
use crate::stages::{self, pieces::MOST_PIECES};
use crate::traffic_book::TrafficBook;

/// Asks the kernel for the MAC of a next hop; must not block, may be called often.
pub type Resolver = Box<dyn FnMut(InterfaceId, Addr) + Send>;

/// Conns that may end in one turn, so that a burst of them does not keep packets waiting: twice as many as can open in it,
/// so that they do not become more and more, and some 25 microseconds where nothing of them is in a cache.
const EXPIRE_PER_TURN: usize = 2 * BATCH;

/// What a turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Packets received, from the port or from other workers.
    pub received: usize,
    /// Conns that ended by their time-out.
    pub expired: usize,
}

/// One worker.
pub struct Worker<P> {
    pub(crate) port: P,
    pub(crate) batch: Batch,
    pub(crate) conns: ConnTable,
    pub(crate) counters: Counters,
    pub(crate) held: Held,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Of the snapshot's services.
    pub(crate) schedulers: Schedulers,
    pub(crate) hops: HopCache,
    /// Of all interfaces.
    pub(crate) smallest_mtu: u32,
    pub(crate) paths: Paths,
    pub(crate) limiter: Limiter,
    pub(crate) fragments: Fragments,
    pub(crate) number: u16,
    pub(crate) crew: Crew,
    /// The fragments of the packet that is being taken apart.
    pub(crate) pieces: Vec<Frame>,
    /// Of the next packet over IPv6 that is.
    pub(crate) fragment_id: u32,
    pub(crate) resolver: Resolver,
    pub(crate) decisions: Decisions,
    observers: Vec<Box<dyn Observer>>,
    questions: Questions,
    latest_snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    latest_next_hops: Cache<Arc<ArcSwap<NextHops>>, Arc<NextHops>>,
    shared: Arc<SharedCounters>,
    meter: Meter,
    shared_effort: Arc<SharedEffort>,
    pub(crate) book: Arc<TrafficBook>,
}

impl<P: Port> Worker<P> {
    /// A worker on `port` and in `place` that follows the given configuration and next hops. Ports of workers that hand
    /// each other packets lie over the same packet memory.
    pub fn new(
        port: P,
        mut conns: ConnTable,
        place: Place,
        snapshots: Arc<ArcSwap<Snapshot>>,
        next_hops: Arc<ArcSwap<NextHops>>,
        resolver: Resolver,
    ) -> Worker<P> {
        let Place {
            number,
            claims,
            mut crew,
        } = place;
        crew.sit_down(&port);
        if let Some(claims) = claims {
            conns = conns.with_claims(claims);
        }
        Worker {
            questions: Questions::new(port.waker()),
            port,
            batch: Batch::new(),
            conns,
            counters: Counters::default(),
            held: Held::new(),
            // The first turn takes over what is published.
            schedulers: Schedulers::default(),
            snapshot: Arc::default(),
            hops: HopCache::new(next_hops.load_full()),
            smallest_mtu: smallest_mtu(&next_hops.load()),
            paths: Paths::new(),
            limiter: Limiter::new(),
            fragments: Fragments::new(),
            number,
            crew,
            pieces: Vec::with_capacity(MOST_PIECES),
            // Not to be guessed by others (RFC 7739).
            fragment_id: RandomState::new().hash_one(()) as u32,
            resolver,
            decisions: Decisions::new(),
            observers: Vec::new(),
            latest_snapshot: Cache::new(snapshots),
            latest_next_hops: Cache::new(next_hops),
            shared: Arc::default(),
            meter: Meter::default(),
            shared_effort: Arc::default(),
            book: Arc::default(),
        }
    }

    /// A packet's way from the wire back to the wire, for up to a batch of them.
    pub fn turn(&mut self, now: Time) -> Turn {
        self.meter.turn_begins(now);
        self.renew(now);
        let ended = self.conns.expire(now, EXPIRE_PER_TURN);
        self.counters.count(Counter::ConnExpire, ended as u64);
        stages::transmit::released(self, now);

        stages::receive::run(self);
        let received = self.batch.len();
        let fragments = stages::parse::run(&mut self.batch);
        stages::gather::run(self, fragments, now);
        let misses = stages::lookup::run(&mut self.batch, &self.conns, self.snapshot.settings());
        if misses > 0 {
            stages::classify::run(&mut self.batch, &self.snapshot);
            stages::schedule::run(self, now);
        }
        self.show(now, |observer, seen| observer.received(seen));
        stages::rewrite::run(self, now);
        self.show(now, |observer, seen| observer.ended(seen));
        stages::transmit::run(self, now);
        for (slot, sign) in self.conns.signs() {
            self.book.showed(slot, sign);
        }
        self.crew.settle(&mut self.port, received == 0);

        if received > 0 || ended > 0 {
            self.shared.store(&self.counters);
        }
        self.answer(now);
        self.meter.turn_ends(now, received);
        self.shared_effort.store(&Effort {
            conns: self.conns.len() as u64,
            held: self.held.len() as u64,
            ..self.meter.effort
        });
        Turn {
            received,
            expired: ended,
        }
    }

    /// Lets `observer` see every packet from now on.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observers.push(observer);
    }

    /// Asks the worker, also while it works on another thread.
    pub fn asker(&self) -> Asker {
        self.questions.asker()
    }

    /// Answers one question, if there is one.
    fn answer(&mut self, now: Time) {
        if let Some(question) = self.questions.next() {
            question(&mut Inside {
                now,
                conns: &mut self.conns,
                snapshot: &self.snapshot,
                schedulers: &self.schedulers,
                next_hops: self.hops.next_hops(),
                decisions: &self.decisions,
                observers: &mut self.observers,
            });
        }
    }

    fn show(&mut self, now: Time, show: impl Fn(&mut dyn Observer, &Observed<'_>)) {
        if self.observers.is_empty() {
            return;
        }
        self.observers.retain(|observer| !observer.is_done());
        for (position, packet) in self.batch.packets().iter().enumerate() {
            if matches!(packet.verdict, Some(Verdict::Hand(_))) {
                // Who observes the worker that has its conn sees it there.
                continue;
            }
            let conn = packet.hit.map(|hit| self.conns.conn(hit.conn));
            // Nobody else asks for the service of a packet that has a conn.
            let asked = || self.snapshot.service_for(&packet.flow);
            let service = packet
                .service
                .or_else(|| packet.is_parsed().then(asked).flatten())
                .map(|at| &self.snapshot.services()[at as usize]);
            let mode = conn.map(|conn| &*self.snapshot.modes()[usize::from(conn.mode())]);
            let seen = Observed {
                now,
                position,
                packet,
                conn,
                service,
                mode,
            };
            for observer in &mut self.observers {
                show(&mut **observer, &seen);
            }
        }
    }

    /// Sleeps until a packet came in, but no longer than until the worker's own clockwork needs a turn.
    pub fn wait(&mut self) {
        if self.conns.is_behind() {
            return;
        }
        let clockwork = if self.held.len() > 0 {
            Duration::from_millis(1)
        } else {
            Duration::from_millis(100)
        };
        let port = &mut self.port;
        self.crew.rest(|| port.wait(clockwork));
    }

    /// The worker's counters, also while it works on another thread.
    pub fn shared_counters(&self) -> Arc<SharedCounters> {
        Arc::clone(&self.shared)
    }

    /// How much the worker has to do, also while it works on another thread.
    pub fn shared_effort(&self) -> Arc<SharedEffort> {
        Arc::clone(&self.shared_effort)
    }

    /// What the worker counts by server, also while it works on another thread.
    pub fn traffic_book(&self) -> Arc<TrafficBook> {
        Arc::clone(&self.book)
    }

    /// The worker's counters now.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many fragments wait for the others of their datagram.
    pub fn waiting_fragments(&self) -> u64 {
        self.fragments.kept()
    }

    /// Takes the memory of the connection table from the kernel now, rather than while packets wait for it.
    pub fn populate(&self) {
        self.conns.populate();
    }

    /// The worker's connection table.
    pub fn conns(&self) -> &ConnTable {
        &self.conns
    }

    /// The worker's port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The worker's port.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// Ends the worker: packets that wait for a next hop are dropped, and the port comes back with all its frames. No
    /// other worker takes a turn any more; if one does, what it hands over is lost.
    pub fn into_port(mut self) -> P {
        stages::transmit::give_up(&mut self);
        self.shared.store(&self.counters);
        self.port
    }

    /// Takes over a configuration or next hops that were published since the last turn.
    fn renew(&mut self, now: Time) {
        let snapshot = self.latest_snapshot.load();
        if !Arc::ptr_eq(snapshot, &self.snapshot) {
            let (old, new) = (self.snapshot.services(), snapshot.services());
            self.schedulers.follow(old, new, now);
            self.snapshot = Arc::clone(snapshot);
            self.book.reserve(self.snapshot.services().highest_slot());
            self.conns.set_timeouts(self.snapshot.timeouts().clone());
            let settings = self.snapshot.settings();
            self.conns.set_secure_tcp(settings.secure_tcp);
            if self.snapshot.settings().expire_nodest_conn {
                self.conns.retire_of_removed_dests();
            }
        }
        let next_hops = self.latest_next_hops.load();
        if !Arc::ptr_eq(next_hops, self.hops.next_hops()) {
            self.smallest_mtu = smallest_mtu(next_hops);
            self.hops.replace(Arc::clone(next_hops));
        }
    }
}

fn smallest_mtu(next_hops: &NextHops) -> u32 {
    let mtus = next_hops.interfaces().iter().map(|interface| interface.mtu);
    mtus.min().unwrap_or(u32::MAX)
}
