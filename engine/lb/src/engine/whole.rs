//! The configuration as a whole: put into force, compared, told.

use lb_model::{Endpoint, ServiceId};

use super::Engine;
use crate::plan::plan;
use crate::{Config, ConfigError, Difference, Limit, ServiceConfig, ServiceTable};

impl Engine {
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
