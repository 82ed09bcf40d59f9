//! Schedulers that choose as Linux IPVS does: one file each, and one line in [`builtin`].

mod dh;
mod divisor;
mod fo;
mod hash;
mod lblc;
mod lblcr;
mod lc;
mod least;
mod locality;
mod mh;
mod nq;
mod options;
mod ovf;
mod rr;
mod sed;
mod sh;
mod wlc;
mod wrr;

use std::sync::Arc;

use lb_model::{Scheduler, SchedulerKind};

pub use options::SchedulerOptions;

/// Makes a scheduler with these options.
pub type Constructor = fn(&SchedulerOptions) -> Arc<dyn SchedulerKind>;

/// Every scheduler of this crate by its ipvsadm name.
pub fn builtin() -> Vec<(&'static str, Constructor)> {
    vec![
        ("rr", plain::<rr::RoundRobin>),
        ("wrr", plain::<wrr::WeightedRoundRobin>),
        ("lc", plain::<lc::LeastConns>),
        ("wlc", plain::<wlc::WeightedLeastConns>),
        ("sh", |options| Arc::new(sh::SourceHash::new(options))),
        ("dh", plain::<dh::DestinationHash>),
        ("lblc", |options| Arc::new(lblc::Lblc::new(options))),
        ("lblcr", |options| Arc::new(lblcr::Lblcr::new(options))),
        ("sed", plain::<sed::ShortestExpectedDelay>),
        ("nq", plain::<nq::NeverQueue>),
        ("fo", plain::<fo::Failover>),
        ("ovf", plain::<ovf::Overflow>),
        ("mh", |options| Arc::new(mh::Maglev::new(options))),
    ]
}

/// A scheduler without options, and without anything to prepare.
fn plain<S: Scheduler + Default + 'static>(_: &SchedulerOptions) -> Arc<dyn SchedulerKind> {
    Arc::new(|| Box::new(S::default()) as Box<dyn Scheduler>)
}

#[cfg(test)]
mod testing;
