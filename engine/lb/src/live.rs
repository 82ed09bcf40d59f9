//! The engine on real interfaces: AF_XDP sockets, the XDP program, next hops from the kernel, a thread per worker.
//!
//! ```no_run
//! # fn config() -> lb::Config { lb::Config::default() }
//! let balancer = lb::live::Balancer::start(&config())?;
//! // ... until it is time to go ...
//! let report = balancer.stop();
//! assert!(report.frames_conserved());
//! # Ok::<(), lb::live::LiveError>(())
//! ```

mod addresses;
mod clock;
mod follower;
mod inspect;
mod queue_choice;
mod scarcity;
mod sockets;
mod worker_thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lb_conn::MAX_WORKERS;
use lb_model::FrameCensus;
use lb_netlink::{Kernel, NetlinkError};
use lb_runtime::{Counters, Worker};
use lb_xsk::{Xsk, XskError, XskPort, queue_count};

use crate::{Config, ConfigError, Engine, Workers, table_memory};
use addresses::Addresses;
use follower::Follower;
use queue_choice::QueueChoice;

pub use inspect::next_hops_of;
pub use lb_netlink::{Link, links};
pub use lb_xsk::{AttachedProgram, DeviceState, Offload, RingStatistics, XdpState, XskConfig};
pub use sockets::Sockets;

/// Why a balancer did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The configuration cannot be used.
    #[error("{}", .0.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<ConfigError>),
    /// The kernel's routes, neighbours or addresses.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// AF_XDP sockets or the XDP program.
    #[error(transparent)]
    Xsk(#[from] XskError),
    /// A thread could not be started.
    #[error("start a thread: {0}")]
    Thread(std::io::Error),
}

/// What was left at the end.
#[derive(Clone, Debug)]
pub struct StopReport {
    /// Where the frames of each worker were; `None` for one that panicked and took the knowledge with it.
    pub frames: Vec<Option<FrameCensus>>,
    /// The counters of all workers.
    pub counters: Counters,
}

impl StopReport {
    /// Whether every frame of every worker was accounted for, and none was held or unsent.
    pub fn frames_conserved(&self) -> bool {
        self.frames.iter().all(|census| {
            census.is_some_and(|census| {
                census.is_conserved() && census.held == 0 && census.transmitting == 0
            })
        })
    }
}

/// A balancer at work, until it is [stopped](Balancer::stop) or dropped.
pub struct Balancer {
    engine: Arc<Engine>,
    /// In the order in which they end: VIPs go first, so that the kernel answers nobody in our place; then the
    /// steering, and with it the supply of packets; then the workers.
    addresses: Arc<Addresses>,
    follower: Option<Follower>,
    stopping: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Worker<XskPort>>>,
    sockets: Arc<Sockets>,
}

impl Balancer {
    /// Starts on the configuration's interfaces; returns when packets are being balanced.
    ///
    /// It works in the network namespace of the calling thread.
    pub fn start(config: &Config) -> Result<Balancer, LiveError> {
        let engine = Arc::new(Engine::new(config).map_err(LiveError::Config)?);
        let kernel = Kernel::start(&config.engine.interfaces)?;
        let Xsk {
            ports,
            control,
            statistics,
            queues,
        } = Xsk::open(&XskConfig {
            interfaces: config.engine.interfaces.clone(),
            workers: workers(config)?,
            busy_poll: config.engine.busy_poll,
            ..XskConfig::default()
        })?;
        let next_hops = kernel.next_hops();
        let resolver = kernel.resolver();
        let mut balancer = Balancer {
            engine: Arc::clone(&engine),
            addresses: Arc::default(),
            follower: None,
            stopping: Arc::default(),
            workers: Vec::new(),
            sockets: Arc::new(Sockets::new(statistics, &queues)),
        };
        // A worker has a queue at least, and no device has so many.
        let count = u16::try_from(ports.len()).unwrap_or(u16::MAX);
        let several = (count > 1).then_some(&config.engine.interfaces);
        let queue_choice = several.and_then(|interfaces| QueueChoice::common(interfaces));
        if let Some(choice) = &queue_choice {
            engine.set_rss(choice.told().clone());
        }
        tell_table_memory(count, engine.capacity());
        let places = engine.places(count);
        for (number, (port, place)) in ports.into_iter().zip(places).enumerate() {
            let resolver = resolver.clone();
            let ask = Box::new(move |interface, addr| resolver.request(interface, addr));
            let worker = engine.worker_with(port, place, Arc::clone(&next_hops), ask);
            worker.populate();
            let thread = worker_thread::spawn(number, worker, Arc::clone(&balancer.stopping));
            balancer.workers.push(thread.map_err(LiveError::Thread)?);
        }
        let follower = Follower::start(kernel, control, Arc::clone(&engine), queue_choice)?;
        balancer.follower = Some(follower);
        let addresses = Arc::clone(&balancer.addresses);
        engine
            .accompany(addresses)
            .map_err(|error| LiveError::Config(vec![error]))?;
        Ok(balancer)
    }

    /// The engine, to look at its counters or apply another configuration.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The queues' sockets, to look at what the kernel counts.
    pub fn sockets(&self) -> &Arc<Sockets> {
        &self.sockets
    }

    /// Whether all workers are at work; one that is not has panicked and said so.
    pub fn is_healthy(&self) -> bool {
        !self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Ends: VIPs are taken off, traffic is left to the kernel again, queued packets are sent, frames counted.
    pub fn stop(mut self) -> StopReport {
        self.end()
    }

    fn end(&mut self) -> StopReport {
        self.addresses.clear();
        self.follower = None;
        self.stopping.store(true, Ordering::Relaxed);
        // None hands anything to another any more when the first is taken apart.
        let workers: Vec<_> = self.workers.drain(..).map(JoinHandle::join).collect();
        let end = |worker: Worker<XskPort>| worker.into_port().close();
        let frames = workers.into_iter().map(|w| w.ok().map(end)).collect();
        self.sockets.forget();
        StopReport {
            frames,
            counters: self.engine.counters(),
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Says how much memory the conn tables take, and complains if that is more than half of the machine's.
fn tell_table_memory(workers: u16, capacity: u32) {
    let machine = rustix::system::sysinfo();
    let has = machine.totalram as u64 * u64::from(machine.mem_unit);
    let takes = table_memory(workers.into(), capacity);
    let what = format!(
        "conn tables: {workers} x {capacity} conns, {} MiB",
        takes.div_ceil(1 << 20)
    );
    if takes <= has / 2 {
        tracing::info!("{what}");
    } else {
        tracing::warn!(
            "{what} are more than half of this machine's {} MiB: lower engine.capacity",
            has >> 20
        );
    }
}

/// How many workers share the queues; `None`: one for each.
fn workers(config: &Config) -> Result<Option<u32>, XskError> {
    match config.engine.workers {
        Workers::Count(count) => Ok(Some(count.into())),
        Workers::Auto => {
            let interfaces = config.engine.interfaces.iter();
            let queues = interfaces.map(|interface| queue_count(interface));
            let fewest = queues.collect::<Result<Vec<_>, _>>()?.into_iter().min();
            Ok(fewest.map(|queues| queues.min(MAX_WORKERS.into())))
        }
    }
}
