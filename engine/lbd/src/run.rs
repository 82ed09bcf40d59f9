//! `lbd run`: start, wait for a signal, stop.

use std::future::pending;
use std::panic;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use lb::live::{Balancer, LiveError, Sockets};
use lb::{Config, Engine};
use lb_config::Settings;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::control::{self, ControlSocket, Office};
use crate::health::{self, Health};
use crate::memory;
use crate::metrics::{self, Sources};
use crate::{rights, service_manager};

/// Requests that are at work at the same time, where they may have to wait; more of them queue.
const CONTROL_THREADS: usize = 16;

/// Balances until told to end; an error if it could not start, or did not end as it should.
pub fn run(file: &Path, settings: Settings) -> anyhow::Result<()> {
    if !settings.balancer.engine.interfaces.is_empty() {
        rights::require()?;
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(CONTROL_THREADS)
        .build()
        .context("cannot start the event loop")?
        .block_on(balance(file, settings))
}

async fn balance(file: &Path, settings: Settings) -> anyhow::Result<()> {
    // Before anything is started: a signal that comes meanwhile is to end it properly too.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut panics = panics();
    let socket = control::socket_path(settings.control.socket.as_deref());
    let socket = ControlSocket::bind(&socket)?;
    let metrics = match settings.metrics.address {
        Some(address) => Some(metrics::listen(address).await?),
        None => None,
    };
    // What is bound is bound, and no thread has been started yet.
    let balances = !settings.balancer.engine.interfaces.is_empty();
    rights::give_up_unneeded(balances)?;
    let mut balancer = settings.balancer.clone();
    health::hold_back(&mut balancer, &settings.health);
    let running = Running::start(&balancer)?;
    rights::give_up_loading()?;
    let engine = Arc::clone(running.engine());
    let health = Health::start(Arc::clone(&engine), settings.health.clone());
    let health = Arc::new(health.context("cannot start health checks")?);
    let office = Arc::new(Office::new(
        engine,
        health,
        running.sockets().cloned(),
        file.to_owned(),
        settings,
    ));
    let sources = Sources {
        engine: Arc::clone(&office.engine),
        health: Arc::clone(&office.health),
        reloads: Arc::clone(&office.reloads),
        sockets: office.sockets.clone(),
    };
    let offered = offer(metrics, sources);
    service_manager::ready();
    let ended = tokio::select! {
        name = signals.end(&office) => {
            tracing::info!("{name}: ending");
            Ok(())
        }
        Some(()) = panics.recv() => Err(anyhow::anyhow!("ended by a defect in lbd, see above")),
        () = offered => Err(anyhow::anyhow!("the metrics ended")),
        () = service_manager::watched(|| running.is_healthy()) => Err(anyhow::anyhow!("the watchdog ended")),
        () = control::serve(&socket.listener, Arc::clone(&office)) => Err(anyhow::anyhow!("the control socket ended")),
    };
    service_manager::stopping();
    let accounted = running.stop();
    ended.and(accounted)
}

/// Offers the numbers, if anywhere.
async fn offer(listener: Option<TcpListener>, sources: Sources) {
    match listener {
        Some(listener) => metrics::serve(listener, sources).await,
        None => pending().await,
    }
}

/// What is running: a balancer, or just its tables if there are no interfaces.
enum Running {
    Balancer(Balancer),
    Tables(Arc<Engine>),
}

impl Running {
    fn start(config: &Config) -> anyhow::Result<Running> {
        let services = counted(config.services.len(), "service");
        if config.engine.interfaces.is_empty() {
            let engine = Engine::new(config).map_err(LiveError::Config)?;
            tracing::info!("no interfaces: keeping {services}, balancing nothing");
            return Ok(Running::Tables(Arc::new(engine)));
        }
        let balancer = Balancer::start(config)?;
        let interfaces = config.engine.interfaces.join(", ");
        tracing::info!("balancing {services} on {interfaces}");
        match memory::in_huge_pages() {
            Some(0) => tracing::warn!(
                "no memory in huge pages, so among many conns each packet takes longer: see /sys/kernel/mm/transparent_hugepage/enabled"
            ),
            Some(kib) => tracing::info!("{} MiB of memory in huge pages", kib / 1024),
            None => {}
        }
        Ok(Running::Balancer(balancer))
    }

    fn engine(&self) -> &Arc<Engine> {
        match self {
            Running::Balancer(balancer) => balancer.engine(),
            Running::Tables(engine) => engine,
        }
    }

    fn sockets(&self) -> Option<&Arc<Sockets>> {
        match self {
            Running::Balancer(balancer) => Some(balancer.sockets()),
            Running::Tables(_) => None,
        }
    }

    /// Whether all of it is at work.
    fn is_healthy(&self) -> bool {
        match self {
            Running::Balancer(balancer) => balancer.is_healthy(),
            Running::Tables(_) => true,
        }
    }

    /// Ends it; an error if frames were lost.
    fn stop(self) -> anyhow::Result<()> {
        let Running::Balancer(balancer) = self else {
            return Ok(());
        };
        let report = balancer.stop();
        let counters = report.counters.nonzero();
        let counters: Vec<String> = counters
            .map(|(counter, value)| format!("{counter} {value}"))
            .collect();
        tracing::info!("counters: {}", counters.join(", "));
        if report.frames_conserved() {
            tracing::info!("frames conserved");
            return Ok(());
        }
        let frames = &report.frames;
        tracing::error!("frames lost or left behind, per worker: {frames:?}");
        bail!("ended without being able to account for all frames")
    }
}

/// The signals that we know.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that tells us to end, and names it; meanwhile a hang-up reloads.
    async fn end(&mut self, office: &Arc<Office>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => reload(Arc::clone(office)),
            }
        }
    }
}

/// Puts the file into force as it is now, on a thread where reading it may take its time.
fn reload(office: Arc<Office>) {
    tracing::info!("SIGHUP: reload");
    tokio::task::spawn_blocking(move || {
        if let Err(error) = office.reload() {
            tracing::error!("nothing has changed: {error}");
        }
    });
}

/// Reports every panic from now on, of whichever thread: one of ours is gone then, and its part of the work stands
/// still. The daemon ends rather than go on as half of itself, so that whoever watches it starts it anew.
fn panics() -> mpsc::UnboundedReceiver<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        tracing::error!("thread {name}: {panic}");
        // Nobody listens once we are ending anyway.
        let _ = sender.send(());
    }));
    receiver
}

fn counted(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}
