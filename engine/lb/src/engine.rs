//! The engine: a checked configuration, and the workers that follow it.

#[cfg(feature = "live")]
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use lb_conn::{ConnTable, LocalPorts, LocalUse, LocalUses, Timeouts};
#[cfg(feature = "live")]
use lb_model::Mac;
use lb_model::{Addr, Endpoint, NextHops, Port, Rss, ServiceId, Time, VirtualService};
use lb_runtime::{
    Asker, Counters, Effort, HandOvers, Place, Resolver, SharedCounters, SharedEffort, Snapshot,
    Worker,
};
use parking_lot::Mutex;

use crate::plan::plan;
use crate::{Config, ConfigError, Difference, Limit, Registry, ServiceConfig, ServiceTable};

/// A checked configuration, and the workers that follow it.
pub struct Engine {
    registry: Registry,
    capacity: u32,
    local_ports: RangeInclusive<u16>,
    local_uses: Arc<LocalUses>,
    rss: OnceLock<Arc<Rss>>,
    /// Held while it is edited and the outcome published, so that two edits do not cross.
    table: Mutex<ServiceTable>,
    snapshots: Arc<ArcSwap<Snapshot>>,
    next_hops: Arc<ArcSwap<NextHops>>,
    /// Of all workers that were ever made.
    workers: Mutex<Vec<Known>>,
    hand_overs: Mutex<Vec<Arc<HandOvers>>>,
    /// What was applied last: the part of it that nobody can edit is still in force.
    applied: Mutex<Config>,
    /// Whether other balancers are to have the traffic; changed while `applied` is held.
    standby: AtomicBool,
    /// Who wants to hear that services or servers have changed.
    listeners: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    #[cfg(feature = "live")]
    companion: Mutex<Option<Arc<dyn Companion>>>,
}

/// What others see of a worker.
struct Known {
    counters: Arc<SharedCounters>,
    effort: Arc<SharedEffort>,
    asker: Asker,
}

/// Who changes something else along with the services.
#[cfg(feature = "live")]
pub(crate) trait Companion: Send + Sync {
    /// Gets ready for `config` without giving up what is in force; or says what of it cannot be, with nothing changed.
    fn prepare(&self, config: &Config) -> Result<(), ConfigError>;
    /// `config` is in force: the rest can go.
    fn settle(&self, config: &Config);
    /// These local addresses, and no others, were put on interfaces by hand.
    fn hold(&self, placed: &[(String, Addr)]);
    /// Puts an address on an interface; the reason why not.
    fn place(&self, interface: &str, lip: Addr) -> Result<(), String>;
}

impl Engine {
    /// An engine with the schedulers and modes that come with it; all that is wrong with `config` otherwise.
    pub fn new(config: &Config) -> Result<Engine, Vec<ConfigError>> {
        Engine::with_registry(config, Registry::builtin())
    }

    /// An engine whose configuration can name what is in `registry`.
    pub fn with_registry(config: &Config, registry: Registry) -> Result<Engine, Vec<ConfigError>> {
        let engine = Engine {
            capacity: config.engine.capacity,
            local_ports: config.engine.local_ports.clone(),
            local_uses: Arc::default(),
            rss: OnceLock::new(),
            table: Mutex::new(ServiceTable::new(registry.clone())),
            registry,
            snapshots: Arc::default(),
            next_hops: Arc::default(),
            workers: Mutex::default(),
            hand_overs: Mutex::default(),
            applied: Mutex::new(Config {
                engine: config.engine.clone(),
                ..Config::default()
            }),
            standby: AtomicBool::new(false),
            listeners: Mutex::default(),
            #[cfg(feature = "live")]
            companion: Mutex::default(),
        };
        engine.apply(config)?;
        Ok(engine)
    }

    /// Puts another configuration into force, whole or not at all; what has changed. Conns stay with their servers,
    /// and what stays as it is is not touched. Another `[engine]` is refused: it takes a restart.
    pub fn apply(&self, config: &Config) -> Result<Difference, Vec<ConfigError>> {
        let plan = plan(config, &self.registry)?;
        let mut applied = self.applied.lock();
        let restart = self.look(|table| difference(table, &applied, config).restart);
        if !restart.is_empty() {
            return Err(restart);
        }
        #[cfg(feature = "live")]
        let companion = self.companion.lock().clone();
        #[cfg(feature = "live")]
        if let Some(companion) = &companion {
            let config = self.addressed(config);
            companion.prepare(&config).map_err(|error| vec![error])?;
        }
        let outcome = self.edit(|table| {
            let difference = difference(table, &applied, config);
            table.set_settings(config.ipvs, config.marks.clone());
            table.set_timeouts(config.timeouts.clone());
            table.places_are_of(config);
            let held = held_and_new(table, config);
            table
                .replace(&plan)
                .map_err(|refusal| vec![ConfigError::new("service", refusal.to_string())])?;
            for (id, rip) in held {
                // What a service has just been given it has.
                let _ = table.limit_server(id, rip, Limit::Quiesced);
            }
            let servers = |s: &'_ ServiceConfig| {
                let id = s.id;
                let drained = s.servers.iter().filter(|server| server.drained);
                drained
                    .map(move |server| (id, server.rip))
                    .collect::<Vec<_>>()
            };
            for (id, rip) in config.services.iter().flat_map(servers) {
                table.drain_server(id, rip);
            }
            *applied = config.clone();
            Ok(difference)
        });
        #[cfg(feature = "live")]
        if let Some(companion) = &companion {
            companion.settle(&self.addressed(&applied));
        }
        outcome
    }

    /// Whether the traffic is left to other balancers.
    pub fn is_on_standby(&self) -> bool {
        self.standby.load(Ordering::Relaxed)
    }

    /// Leaves the traffic to other balancers, or takes it back: the VIPs that we put on interfaces go, or come again. What
    /// comes all the same is balanced as before.
    ///
    /// # Errors
    ///
    /// If a VIP cannot be put on its interface; we stay on standby then.
    pub fn set_standby(&self, standby: bool) -> Result<(), ConfigError> {
        let applied = self.applied.lock();
        self.standby.store(standby, Ordering::Relaxed);
        self.readdress(&applied)
            .inspect_err(|_| self.standby.store(true, Ordering::Relaxed))
    }

    /// Has the companion put on interfaces what is to be there now.
    #[cfg(feature = "live")]
    fn readdress(&self, applied: &Config) -> Result<(), ConfigError> {
        if let Some(companion) = &*self.companion.lock() {
            let config = self.addressed(applied);
            companion.prepare(&config)?;
            companion.settle(&config);
        }
        Ok(())
    }

    #[cfg(not(feature = "live"))]
    fn readdress(&self, _: &Config) -> Result<(), ConfigError> {
        Ok(())
    }

    /// `config` with the addresses that are to be on interfaces now.
    #[cfg(feature = "live")]
    fn addressed<'c>(&self, config: &'c Config) -> Cow<'c, Config> {
        if !self.is_on_standby() {
            return Cow::Borrowed(config);
        }
        let mut config = config.clone();
        for service in &mut config.services {
            service.vip_interface = None;
        }
        Cow::Owned(config)
    }

    /// Other balancers, by their MACs.
    #[cfg(feature = "live")]
    pub(crate) fn peers(&self) -> Vec<Mac> {
        self.applied.lock().engine.peers.clone()
    }

    /// Lets `companion` change something else along with the services, from what is in force now on.
    #[cfg(feature = "live")]
    pub(crate) fn accompany(&self, companion: Arc<dyn Companion>) -> Result<(), ConfigError> {
        let applied = self.applied.lock();
        companion.prepare(&applied)?;
        *self.companion.lock() = Some(companion);
        Ok(())
    }

    /// What [`apply`](Engine::apply) would change; all that is wrong with `config` otherwise.
    pub fn difference(&self, config: &Config) -> Result<Difference, Vec<ConfigError>> {
        plan(config, &self.registry)?;
        let applied = self.applied.lock();
        let table = self.table.lock();
        Ok(difference(&table, &applied, config))
    }

    /// The configuration in force, edits included: applied to an engine that is like this one at its start, it makes
    /// it as this one is now.
    pub fn config(&self) -> Config {
        let applied = self.applied.lock();
        running(&self.table.lock(), &applied)
    }

    /// Edits services and servers one by one, as ipvsadm does; workers see all of the edit or nothing.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut ServiceTable) -> T) -> T {
        let mut table = self.table.lock();
        let outcome = edit(&mut table);
        self.snapshots.store(Arc::new(table.snapshot()));
        #[cfg(feature = "live")]
        if let Some(companion) = &*self.companion.lock() {
            companion.hold(&table.placed());
        }
        drop(table);
        for listener in self.listeners.lock().iter() {
            listener();
        }
        outcome
    }

    /// Adds a local address to a service, and puts it on an interface for as long as the service has it (`ipvsadm -P -F`); an
    /// edit like those of [`amend`](Engine::amend).
    #[cfg(feature = "live")]
    pub fn add_placed_address(
        &self,
        id: ServiceId,
        lip: Addr,
        interface: &str,
    ) -> Result<(), PlaceError> {
        self.amend(|table| {
            table.add_local_address(id, lip)?;
            if let Some(companion) = &*self.companion.lock()
                && let Err(error) = companion.place(interface, lip)
            {
                // It was just added.
                let _ = table.delete_local_address(id, lip);
                return Err(PlaceError::Interface(error));
            }
            table.place_local_address(id, lip, interface);
            Ok(())
        })
    }

    /// Has `listener` called after every change of services and servers that workers see, by whoever made it; it must
    /// neither wait nor change anything itself.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.listeners.lock().push(Box::new(listener));
    }

    /// One of many edits: workers may see it from now on, and do once it is [published](Engine::publish).
    pub fn amend<T>(&self, edit: impl FnOnce(&mut ServiceTable) -> T) -> T {
        edit(&mut self.table.lock())
    }

    /// Shows workers the services as they are.
    pub fn publish(&self) {
        self.edit(|_| ());
    }

    /// Looks at the services as they are.
    pub fn look<T>(&self, look: impl FnOnce(&ServiceTable) -> T) -> T {
        look(&self.table.lock())
    }

    /// How a local address, or in ENAT a VIP, is used by the conns of all services.
    pub fn local_use(&self, local: Addr) -> Arc<LocalUse> {
        self.local_uses.of(local)
    }

    /// How many local ports each server's conns of a service have leased, and how many there are for them.
    pub fn local_ports_of(&self, id: ServiceId) -> Vec<LocalPortsOf> {
        let table = self.table.lock();
        let service = table.service(id);
        service
            .iter()
            .flat_map(|service| self.ports_of(service))
            .collect()
    }

    /// The same of every service's servers to which there are such conns.
    pub fn local_ports_in_use(&self) -> Vec<(ServiceId, LocalPortsOf)> {
        let table = self.table.lock();
        let services = table.services().iter();
        services
            .flat_map(|service| {
                let used = self.ports_of(service).filter(|ports| ports.leased > 0);
                used.map(|ports| (service.id(), ports))
            })
            .collect()
    }

    fn ports_of(&self, service: &VirtualService) -> impl Iterator<Item = LocalPortsOf> {
        let lips = service.settings().local_addresses.len() as u64;
        let capacity = self.local_ports.len() as u64 * lips.max(1);
        service.dests().iter().map(move |dest| LocalPortsOf {
            server: dest.rip(),
            leased: dest.leased(),
            capacity,
        })
    }

    /// Replaces the next hops of the workers made by [`worker`](Engine::worker).
    pub fn set_next_hops(&self, next_hops: NextHops) {
        self.next_hops.store(Arc::new(next_hops));
    }

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

    /// Estimates anew how much traffic services and servers carry per second, if it is time; to be called every second or
    /// so, always with the same clock.
    pub fn estimate(&self, now: Time) {
        self.table.lock().estimate(now);
    }

    /// For how many conns each worker has room.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The services in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.load_full()
    }

    /// The ports that local addresses are used with.
    #[cfg(feature = "live")]
    pub(crate) fn local_ports(&self) -> &RangeInclusive<u16> {
        &self.local_ports
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

/// Servers to be held that `table` does not have.
fn held_and_new(table: &ServiceTable, config: &Config) -> Vec<(ServiceId, Endpoint)> {
    let servers = config.services.iter().flat_map(|service| {
        let held = service.servers.iter().filter(|server| server.held);
        held.map(|server| (service.id, server.rip))
    });
    let is_new = |(id, rip): &(ServiceId, Endpoint)| {
        let members = table.members(*id).unwrap_or_default();
        !members.iter().any(|member| member.rip == *rip)
    };
    servers.filter(is_new).collect()
}

/// What is in force: `table`, and what nobody can edit of what was applied last.
fn running(table: &ServiceTable, applied: &Config) -> Config {
    Config {
        engine: applied.engine.clone(),
        services: table.configs(&applied.services),
        ipvs: *table.settings(),
        timeouts: table.timeouts().clone(),
        marks: table.marks().to_vec(),
        network: applied.network.clone(),
    }
}

fn difference(table: &ServiceTable, applied: &Config, wanted: &Config) -> Difference {
    let conns = |id, rip| {
        let dest = table.server(id, rip);
        dest.map_or(0, |dest| dest.total())
    };
    Difference::between(&running(table, applied), wanted, conns)
}

/// Why a local address was not put on an interface; the service does not have it.
#[cfg(feature = "live")]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlaceError {
    /// The service does not take it.
    #[error(transparent)]
    Service(#[from] crate::Refusal),
    /// The interface does not.
    #[error("{0}")]
    Interface(String),
}

/// The local ports towards one server of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalPortsOf {
    /// RIP:rport.
    pub server: Endpoint,
    /// Those that conns of the service have leased.
    pub leased: u32,
    /// All that there are, for every service that shares the addresses.
    pub capacity: u64,
}
