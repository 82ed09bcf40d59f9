//! What requests are answered from.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use lb::live::Sockets;
use lb::{ConfigError, ConnFilter, Difference, Engine};
use lb_config::Settings;
use lb_ipvsadm::{ConnRow, Next, ServiceNames};

use super::change::joined;
use super::socket_path;
use crate::administration::{Conns, conn_row, template_row};
use crate::health::{self, Health, HealthPlan};
use crate::reloads::Reloads;
use crate::sync_daemons::SyncDaemons;

/// What requests are answered from.
pub struct Office {
    pub engine: Arc<Engine>,
    pub health: Arc<Health>,
    /// Where it balances; `None`: nowhere.
    pub sockets: Option<Arc<Sockets>>,
    /// The file that the daemon was started with.
    pub file: PathBuf,
    /// What it said then.
    pub settings: Settings,
    /// Names of ports, where ipvsadm takes and prints them.
    pub names: ServiceNames,
    pub sync_daemons: SyncDaemons,
    pub reloads: Arc<Reloads>,
    pub started: Instant,
}

impl Office {
    pub fn new(
        engine: Arc<Engine>,
        health: Arc<Health>,
        sockets: Option<Arc<Sockets>>,
        file: PathBuf,
        settings: Settings,
    ) -> Office {
        // Without the file there are no names, as for ipvsadm itself.
        let services = fs::read_to_string("/etc/services").unwrap_or_default();
        Office {
            sync_daemons: SyncDaemons::of(Arc::clone(&engine)),
            engine,
            health,
            sockets,
            file,
            settings,
            names: ServiceNames::from_text(&services),
            reloads: Arc::new(Reloads::new()),
            started: Instant::now(),
        }
    }

    /// Puts the configuration file into force as it is now; what has changed, or why nothing has.
    pub fn reload(&self) -> Result<Changes, String> {
        self.reloads.run(|| self.apply())
    }

    fn apply(&self) -> Result<Changes, String> {
        let mut settings = lb_config::load(&self.file).map_err(|error| error.to_string())?;
        let restart = self.restart(&settings);
        if !restart.is_empty() {
            // The engine's own are not left out of the list.
            let engines = self.engine.difference(&settings.balancer);
            let engines = engines.map_or_else(|errors| errors, |difference| difference.restart);
            return Err(joined(&[restart, engines].concat()));
        }
        health::hold_back(&mut settings.balancer, &settings.health);
        let mut plan = self.health.plan();
        let checks = self.checks_changed(&plan, &settings);
        let difference = self.engine.apply(&settings.balancer);
        let difference = difference.map_err(|errors| joined(&errors))?;
        *plan = settings.health;
        drop(plan);
        self.health.plan_changed();
        tracing::info!("{}: {difference}", self.file.display());
        for line in &checks {
            tracing::info!("{line}");
        }
        Ok(Changes { difference, checks })
    }

    /// What another configuration would change.
    pub fn plan(&self, settings: &Settings) -> Result<Changes, String> {
        let difference = self.engine.difference(&settings.balancer);
        let mut difference = difference.map_err(|errors| joined(&errors))?;
        difference.restart.extend(self.restart(settings));
        let checks = self.checks_changed(&self.health.plan(), settings);
        Ok(Changes { difference, checks })
    }

    fn checks_changed(&self, plan: &HealthPlan, wanted: &Settings) -> Vec<String> {
        let running = Settings {
            balancer: self.engine.config(),
            health: plan.clone(),
            ..self.settings.clone()
        };
        lb_config::changed_checks(&running, wanted)
    }

    /// What of the daemon's own settings only a restart can change.
    fn restart(&self, wanted: &Settings) -> Vec<ConfigError> {
        let socket = |settings: &Settings| socket_path(settings.control.socket.as_deref());
        let address = |settings: &Settings| match settings.metrics.address {
            Some(address) => address.to_string(),
            None => "none".to_owned(),
        };
        let fixed = [
            (
                "control.socket",
                socket(&self.settings).display().to_string(),
                socket(wanted).display().to_string(),
            ),
            ("metrics.address", address(&self.settings), address(wanted)),
        ];
        let changed = fixed.into_iter().filter(|(_, from, to)| from != to);
        changed
            .map(|(path, from, to)| ConfigError::restart(path, &from, &to))
            .collect()
    }

    /// The names of modes by their numbers.
    pub fn modes(&self) -> Vec<&'static str> {
        self.engine
            .look(|table| table.modes().iter().map(|mode| mode.name()).collect())
    }

    /// The conns of all workers.
    pub fn conns(&self) -> LiveConns<'_> {
        LiveConns(&self.engine)
    }
}

/// What another configuration changes.
pub struct Changes {
    /// About services and servers.
    pub difference: Difference,
    /// About health checks, a line each.
    pub checks: Vec<String>,
}

/// The conns of workers that go on working.
pub struct LiveConns<'a>(&'a Engine);

impl Conns for LiveConns<'_> {
    fn each(&self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next) {
        let mut more = true;
        self.0.templates(&mut |(template, now)| {
            more = each(&template_row(&template, now)) == Next::More;
            more
        });
        if more {
            self.0.conns(ConnFilter::default(), &mut |record| {
                each(&conn_row(&record)) == Next::More
            });
        }
    }

    fn capacity(&self) -> u64 {
        self.0.capacity().into()
    }
}

/// The process at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub uid: u32,
    pub pid: Option<i32>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)?;
        match self.pid {
            Some(pid) => write!(f, ", process {pid}"),
            None => Ok(()),
        }
    }
}
