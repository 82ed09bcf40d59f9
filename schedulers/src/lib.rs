//! Schedulers that choose as Linux IPVS does: one file each, and one line in [`builtin`].

mod rr;

use std::sync::Arc;

use lb_model::{Scheduler, SchedulerFactory};

pub use rr::RoundRobin;

/// Every scheduler of this crate by its ipvsadm name.
pub fn builtin() -> Vec<(&'static str, SchedulerFactory)> {
    vec![("rr", of::<RoundRobin>())]
}

fn of<S: Scheduler + Default + 'static>() -> SchedulerFactory {
    Arc::new(|| Box::new(S::default()))
}
