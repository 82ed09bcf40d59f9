//! `lbd run`: start, wait for a signal, stop.

use std::panic;

use anyhow::{Context, bail};
use lb::live::Balancer;
use lb_config::Settings;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::rights;

/// Balances until told to end; an error if it could not start, or did not end as it should.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    rights::require()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(balance(settings))
}

async fn balance(settings: &Settings) -> anyhow::Result<()> {
    // Before anything is started: a signal that comes meanwhile is to end it properly too.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut panics = panics();
    let config = &settings.balancer;
    let balancer = Balancer::start(config)?;
    tracing::info!(
        "balancing {} on {}",
        counted(config.services.len(), "service"),
        config.engine.interfaces.join(", ")
    );
    let ended = tokio::select! {
        name = signals.end() => {
            tracing::info!("{name}: ending");
            Ok(())
        }
        Some(()) = panics.recv() => Err(anyhow::anyhow!("ended by a defect in lbd, see above")),
    };
    let report = balancer.stop();
    let counters = report.counters.nonzero();
    let counters: Vec<String> = counters
        .map(|(counter, value)| format!("{counter} {value}"))
        .collect();
    tracing::info!("counters: {}", counters.join(", "));
    if report.frames_conserved() {
        tracing::info!("frames conserved");
    } else {
        let frames = &report.frames;
        tracing::error!("frames lost or left behind, per worker: {frames:?}");
        if ended.is_ok() {
            bail!("ended without being able to account for all frames");
        }
    }
    ended
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

    /// Waits for one that tells us to end, and names it.
    async fn end(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => tracing::warn!(
                    "SIGHUP ignored: this version applies a new configuration on restart"
                ),
            }
        }
    }
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
