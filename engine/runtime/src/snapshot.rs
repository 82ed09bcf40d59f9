//! The configuration as workers see it: never changed, only replaced.

mod services;
mod shared_map;

use std::sync::Arc;

use lb_conn::Timeouts;
use lb_model::{FlowKey, IpvsSettings, Mark, MarkRule, Mode, ServiceId, ServiceKey};

pub use services::Services;

/// All virtual services, and the modes that conns refer to by number. A copy costs nothing worth mentioning.
#[derive(Clone, Default)]
pub struct Snapshot {
    services: Services,
    marks: Arc<[MarkRule]>,
    settings: IpvsSettings,
    timeouts: Timeouts,
}

impl Snapshot {
    /// A snapshot of these services.
    pub fn new(services: Services) -> Snapshot {
        Snapshot {
            services,
            ..Snapshot::default()
        }
    }

    /// The snapshot with rules that give packets their marks; the first that matches counts.
    #[must_use]
    pub fn with_marks(mut self, marks: Arc<[MarkRule]>) -> Snapshot {
        self.marks = marks;
        self
    }

    /// The snapshot with these switches and time-outs.
    #[must_use]
    pub fn with_settings(mut self, settings: IpvsSettings, timeouts: Timeouts) -> Snapshot {
        (self.settings, self.timeouts) = (settings, timeouts);
        self
    }

    /// The services, in the order in which they were added.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The rules that give packets the marks of services.
    pub fn marks_in_use(&self) -> impl Iterator<Item = &MarkRule> + Clone {
        self.marks.iter().filter(|rule| {
            let v6 = !rule.destination.addr().is_v4();
            let mark = rule.mark;
            self.find(&ServiceId::Mark(Mark { mark, v6 })).is_some()
        })
    }

    /// The modes, by their numbers.
    pub fn modes(&self) -> &[Arc<dyn Mode>] {
        self.services.modes()
    }

    /// The switches.
    pub fn settings(&self) -> &IpvsSettings {
        &self.settings
    }

    /// The time-outs of conns.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The number of the service of this name.
    #[inline]
    pub fn find(&self, id: &ServiceId) -> Option<u32> {
        self.services.find(id)
    }

    /// Whether packets of `flow` come from a server whose replies come through us (kernel `ip_vs_has_real_service`).
    pub fn is_replying(&self, flow: &FlowKey) -> bool {
        self.services.is_replying(&(flow.source, flow.protocol))
    }

    /// The number of the service for packets of `flow` (kernel `ip_vs_service_find`): by mark, else by address and
    /// port, else by address alone. It is the same for all packets to one endpoint with one protocol.
    #[inline]
    pub fn service_for(&self, flow: &FlowKey) -> Option<u32> {
        let key = ServiceKey {
            vip: flow.destination,
            protocol: flow.protocol,
        };
        self.by_mark(flow)
            .or_else(|| self.find(&key.into()))
            .or_else(|| self.by_any_port(key))
    }

    fn by_mark(&self, flow: &FlowKey) -> Option<u32> {
        let rule = self.marks.iter().find(|rule| rule.matches(flow))?;
        self.find(&ServiceId::Mark(Mark::of(rule.mark, flow)))
    }

    fn by_any_port(&self, mut key: ServiceKey) -> Option<u32> {
        key.vip.port = 0;
        if self.services.take_any_port() {
            self.find(&key.into())
        } else {
            None
        }
    }
}
