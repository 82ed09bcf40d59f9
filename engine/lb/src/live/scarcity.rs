//! Says when local ports run short, before there are none left.

use std::collections::BTreeSet;
use std::time::Duration;

use lb_model::{Endpoint, ServiceId, Time};

use crate::{Engine, LocalPortsOf};

/// In percent; above it there is time to add addresses, if somebody is told.
const SCARCE: u64 = 80;
/// Said again only if it was better than this in between.
const ENOUGH: u64 = 60;

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(10);

/// Towards which servers there are few ports left, as was said.
pub struct Scarcity {
    said: BTreeSet<(String, Endpoint)>,
    looked: Time,
}

/// What there is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    Scarce,
    Enough,
}

impl Scarcity {
    /// Nothing was said yet.
    pub fn new() -> Scarcity {
        Scarcity {
            said: BTreeSet::new(),
            looked: Time::ZERO,
        }
    }

    /// Looks at the services' ports if it is time, and says what has changed.
    pub fn look(&mut self, engine: &Engine, now: Time) {
        if now.since(self.looked) < PERIOD {
            return;
        }
        self.looked = now;
        let in_use = engine.local_ports_in_use();
        let is_used = |(service, server): &(String, Endpoint)| {
            let mut used = in_use.iter();
            used.any(|(id, ports)| ports.server == *server && id.to_string() == *service)
        };
        self.said.retain(is_used);
        for (service, ports) in &in_use {
            self.tell(*service, ports);
        }
    }

    fn tell(&mut self, service: ServiceId, ports: &LocalPortsOf) {
        let (leased, capacity, server) = (ports.leased, ports.capacity, ports.server);
        match self.news(service, ports) {
            Some(News::Scarce) => tracing::warn!(
                "{service}: {leased} of {capacity} local ports towards {server} are in use; when all are, new conns \
                 are dropped: add local addresses or servers"
            ),
            Some(News::Enough) => tracing::info!(
                "{service}: {leased} of {capacity} local ports towards {server} are in use"
            ),
            None => {}
        }
    }

    fn news(&mut self, service: ServiceId, ports: &LocalPortsOf) -> Option<News> {
        let key = (service.to_string(), ports.server);
        let percent = u64::from(ports.leased) * 100 / ports.capacity.max(1);
        if percent >= SCARCE {
            return self.said.insert(key).then_some(News::Scarce);
        }
        (percent < ENOUGH && self.said.remove(&key)).then_some(News::Enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{Addr, Protocol, ServiceKey};

    #[test]
    fn it_is_said_once_that_ports_are_scarce_and_once_that_they_are_not() {
        let server = Endpoint::new(Addr::v4([10, 1, 0, 11]), 80);
        let service = ServiceKey {
            vip: Endpoint::new(Addr::v4([10, 0, 0, 100]), 80),
            protocol: Protocol::Tcp,
        };
        let mut scarcity = Scarcity::new();
        let said = [10, 79, 80, 99, 70, 85, 59, 0, 100].map(|leased| {
            let ports = LocalPortsOf {
                server,
                leased,
                capacity: 100,
            };
            scarcity.news(service.into(), &ports)
        });
        let (scarce, enough) = (Some(News::Scarce), Some(News::Enough));
        let expected = [None, None, scarce, None, None, None, enough, None, scarce];
        assert_eq!(said, expected);
    }
}
