//! Conns that others told of: they are not told of in turn, or two balancers would keep each other's conns alive for ever.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb::FlowKey;
use parking_lot::Mutex;

/// Well above the time between two tellings of a conn that lives: what has not been told of for so long is ours.
const FORGOTTEN: Duration = Duration::from_secs(30 * 60);

/// How often those are looked for.
const TIDIED: Duration = Duration::from_secs(60);

/// Shared by the two daemons of one balancer.
#[derive(Clone, Default)]
pub struct Adopted(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    at: HashMap<FlowKey, Instant>,
    tidied: Option<Instant>,
}

impl Adopted {
    /// These have been told of just now.
    pub fn note(&self, flows: impl Iterator<Item = FlowKey>) {
        let now = Instant::now();
        let mut told = self.0.lock();
        told.at.extend(flows.map(|flow| (flow, now)));
        if told.tidied.is_none_or(|tidied| now - tidied >= TIDIED) {
            told.at.retain(|_, at| now.duration_since(*at) < FORGOTTEN);
            told.tidied = Some(now);
        }
    }

    /// Whether somebody else tells of it.
    pub fn has(&self, flow: &FlowKey) -> bool {
        self.0.lock().at.contains_key(flow)
    }

    /// Nobody is listened to any more: all conns are ours.
    pub fn forget(&self) {
        self.0.lock().at.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_known_until_nobody_is_listened_to() {
        let end = |text: &str| text.parse().expect("an endpoint");
        let flow = |client: &str| FlowKey {
            source: end(client),
            destination: end("10.0.0.100:80"),
            protocol: lb::Protocol::Tcp,
        };
        let adopted = Adopted::default();
        adopted.note([flow("192.0.2.1:1")].into_iter());
        assert!(adopted.has(&flow("192.0.2.1:1")));
        assert!(!adopted.has(&flow("192.0.2.1:2")));
        adopted.forget();
        assert!(!adopted.has(&flow("192.0.2.1:1")));
    }
}
