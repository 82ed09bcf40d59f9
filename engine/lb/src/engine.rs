//! The engine: a checked configuration, and the workers that follow it.

mod local_ports;
mod whole;
mod workers;

#[cfg(feature = "live")]
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use lb_conn::LocalUses;
#[cfg(feature = "live")]
use lb_model::{Addr, Mac, ServiceId};
use lb_model::{NextHops, Rss, Time};
use lb_runtime::{HandOvers, Snapshot};
use parking_lot::Mutex;

use crate::{Config, ConfigError, Registry, ServiceTable};
pub use local_ports::LocalPortsOf;
use workers::Known;

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

    /// Replaces the next hops of the workers made by [`worker`](Engine::worker).
    pub fn set_next_hops(&self, next_hops: NextHops) {
        self.next_hops.store(Arc::new(next_hops));
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
