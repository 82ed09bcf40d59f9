//! A worker's schedulers, one for each service, which keep their state while services come, change and go.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{Scheduler, ServiceId, Time, VirtualService};

use crate::snapshot::Services;

/// One scheduler for each service, by the service's number.
#[derive(Default)]
pub struct Schedulers(Vec<Option<Box<dyn Scheduler>>>);

impl Schedulers {
    /// The scheduler of the service of this number.
    pub fn get(&self, number: usize) -> Option<&dyn Scheduler> {
        self.0.get(number)?.as_deref()
    }

    /// The scheduler of the service of this number.
    #[inline]
    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut (dyn Scheduler + 'static)> {
        self.0.get_mut(number)?.as_deref_mut()
    }

    /// The schedulers for `new`, which were those for `old`: a service that keeps its scheduler keeps its scheduler's
    /// state, whatever that is told (kernel `ip_vs_edit_service`), and one that keeps its dests does not even tell it.
    /// What is the same in both is not looked at.
    pub(crate) fn follow(&mut self, old: &Services, new: &Services, now: Time) {
        // All are taken before any is given: a service's number may have become another's.
        let changed: Vec<usize> = new.changed_since(old).collect();
        let mut before = HashMap::with_hasher(RandomState::new());
        for number in &changed {
            if let Some(service) = old.get(*number)
                && let Some(scheduler) = self.0.get_mut(*number).and_then(Option::take)
            {
                before.insert(service.id(), (service, scheduler));
            }
        }
        self.0.resize_with(new.places(), || None);
        for number in changed {
            if let Some(service) = new.get(number) {
                self.0[number] = Some(scheduler_of(service, &mut before, now));
            }
        }
    }
}

type Before<'s> = HashMap<ServiceId, (&'s VirtualService, Box<dyn Scheduler>), RandomState>;

fn scheduler_of(
    service: &VirtualService,
    before: &mut Before<'_>,
    now: Time,
) -> Box<dyn Scheduler> {
    let life = |service: &VirtualService| Arc::as_ptr(&service.settings().scheduler_life);
    let kept = before.remove(&service.id());
    let kept = kept.filter(|(before, _)| life(before) == life(service));
    let (mut scheduler, knows_dests) = match kept {
        Some((before, scheduler)) => (scheduler, before.dests().are_those_of(service.dests())),
        None => (service.settings().scheduler.worker(), false),
    };
    if !knows_dests {
        scheduler.dests_changed(service.dests(), now);
    }
    scheduler
}
