//! The schedulers and modes that a configuration can name.

use std::sync::Arc;

use lb_model::{Mode, SchedulerKind};
use lb_schedulers::SchedulerOptions;

type Constructor = Arc<dyn Fn(&SchedulerOptions) -> Arc<dyn SchedulerKind> + Send + Sync>;

/// The schedulers and modes that a configuration can name: ours, and an embedder's own.
#[derive(Clone)]
pub struct Registry {
    schedulers: Vec<(String, Constructor)>,
    modes: Vec<Arc<dyn Mode>>,
}

impl Registry {
    /// What comes with the engine.
    pub fn builtin() -> Registry {
        let schedulers = lb_schedulers::builtin()
            .into_iter()
            .map(|(name, make)| (name.to_owned(), Arc::new(make) as Constructor))
            .collect();
        Registry {
            schedulers,
            modes: lb_modes::builtin(),
        }
    }

    /// Adds a scheduler under a name; one of the same name is replaced. A closure that returns a boxed scheduler will do.
    #[must_use]
    pub fn with_scheduler(mut self, name: &str, kind: impl SchedulerKind + 'static) -> Registry {
        let kind: Arc<dyn SchedulerKind> = Arc::new(kind);
        self.schedulers.retain(|(other, _)| other != name);
        self.schedulers
            .push((name.to_owned(), Arc::new(move |_| Arc::clone(&kind))));
        self
    }

    /// The scheduler of this name, with these options as far as it knows them.
    pub(crate) fn scheduler(
        &self,
        name: &str,
        options: &SchedulerOptions,
    ) -> Option<Arc<dyn SchedulerKind>> {
        self.schedulers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, make)| make(options))
    }

    /// Whether there is a scheduler of this name.
    pub fn has_scheduler(&self, name: &str) -> bool {
        self.schedulers.iter().any(|(known, _)| known == name)
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
