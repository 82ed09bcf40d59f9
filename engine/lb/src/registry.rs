//! The schedulers and modes that a configuration can name.

use std::sync::Arc;

use lb_model::{Mode, SchedulerFactory};

/// The schedulers and modes that a configuration can name: ours, and an embedder's own.
#[derive(Clone)]
pub struct Registry {
    schedulers: Vec<(String, SchedulerFactory)>,
    modes: Vec<Arc<dyn Mode>>,
}

impl Registry {
    /// What comes with the engine.
    pub fn builtin() -> Registry {
        let schedulers = lb_schedulers::builtin()
            .into_iter()
            .map(|(name, make)| (name.to_owned(), make))
            .collect();
        Registry {
            schedulers,
            modes: lb_modes::builtin(),
        }
    }

    /// Adds a scheduler under a name; one of the same name is replaced.
    #[must_use]
    pub fn with_scheduler(mut self, name: &str, make: SchedulerFactory) -> Registry {
        self.schedulers.retain(|(other, _)| other != name);
        self.schedulers.push((name.to_owned(), make));
        self
    }

    /// The scheduler of this name.
    pub(crate) fn scheduler(&self, name: &str) -> Option<SchedulerFactory> {
        self.schedulers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, make)| Arc::clone(make))
    }

    /// The mode of this name, and its number.
    pub(crate) fn mode(&self, name: &str) -> Option<(u8, Arc<dyn Mode>)> {
        (0..)
            .zip(&self.modes)
            .find(|(_, mode)| mode.name() == name)
            .map(|(id, mode)| (id, Arc::clone(mode)))
    }

    /// All modes, by their numbers.
    pub fn modes(&self) -> &[Arc<dyn Mode>] {
        &self.modes
    }

    /// The names of all schedulers, for an error message.
    pub(crate) fn scheduler_names(&self) -> String {
        self.schedulers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The names of all modes, for an error message.
    pub(crate) fn mode_names(&self) -> String {
        self.modes
            .iter()
            .map(|mode| mode.name())
            .collect::<Vec<_>>()
            .join(", ")
    }
}
