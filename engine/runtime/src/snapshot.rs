//! The configuration as workers see it: never changed, only replaced.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};
use lb_conn::Timeouts;
use lb_model::{
    Endpoint, FlowKey, IpvsSettings, Mark, MarkRule, Mode, Protocol, ServiceId, ServiceKey,
    VirtualService,
};

/// Where replies come from.
type ReplySource = (Endpoint, Protocol);

/// All virtual services, and the modes that conns refer to by number.
#[derive(Clone, Default)]
pub struct Snapshot {
    services: Vec<VirtualService>,
    by_id: HashMap<ServiceId, u32, RandomState>,
    /// Whether a service takes packets to ports that have no service of their own.
    any_port: bool,
    modes: Vec<Arc<dyn Mode>>,
    /// The servers whose replies come through us.
    replying: HashSet<ReplySource, RandomState>,
    marks: Vec<MarkRule>,
    settings: IpvsSettings,
    timeouts: Timeouts,
}

impl Snapshot {
    /// A snapshot; of two services with one name, the first counts.
    pub fn new(services: Vec<VirtualService>, modes: Vec<Arc<dyn Mode>>) -> Snapshot {
        let mut by_id = HashMap::with_capacity_and_hasher(services.len(), RandomState::new());
        for (position, service) in (0..).zip(&services) {
            by_id.entry(service.id()).or_insert(position);
        }
        let any_port =
            |service: &VirtualService| service.key().is_some_and(|key| key.vip.port == 0);
        let replying = |service: &VirtualService| {
            let dests = service.dests().iter();
            let protocol = service.key().map(|key| key.protocol);
            let dests = dests.filter(|dest| {
                let mode = modes.get(usize::from(dest.mode()));
                mode.is_some_and(|mode| mode.replies().pass_through_us())
            });
            let sources = dests.filter_map(|dest| Some((dest.rip(), protocol?)));
            sources.collect::<Vec<_>>()
        };
        Snapshot {
            replying: services.iter().flat_map(replying).collect(),
            any_port: services.iter().any(any_port),
            services,
            by_id,
            modes,
            ..Snapshot::default()
        }
    }

    /// The snapshot with rules that give packets their marks; the first that matches counts.
    #[must_use]
    pub fn with_marks(mut self, marks: Vec<MarkRule>) -> Snapshot {
        self.marks = marks;
        self
    }

    /// The snapshot with these switches and time-outs.
    #[must_use]
    pub fn with_settings(mut self, settings: IpvsSettings, timeouts: Timeouts) -> Snapshot {
        (self.settings, self.timeouts) = (settings, timeouts);
        self
    }

    /// The highest of its servers' slots.
    pub(crate) fn highest_slot(&self) -> u32 {
        let dests = self
            .services
            .iter()
            .flat_map(|service| service.dests().iter());
        dests.map(|dest| dest.slot()).max().unwrap_or(0)
    }

    /// The services, in the order in which they were added.
    pub fn services(&self) -> &[VirtualService] {
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
        &self.modes
    }

    /// The switches.
    pub fn settings(&self) -> &IpvsSettings {
        &self.settings
    }

    /// The time-outs of conns.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The position of the service of this name.
    pub fn find(&self, id: &ServiceId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// Whether packets of `flow` come from a server whose replies come through us (kernel `ip_vs_has_real_service`).
    pub fn is_replying(&self, flow: &FlowKey) -> bool {
        self.replying.contains(&(flow.source, flow.protocol))
    }

    /// The position of the service for packets of `flow` (kernel `ip_vs_service_find`): by mark, else by address and
    /// port, else by address alone.
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
        if self.any_port {
            self.find(&key.into())
        } else {
            None
        }
    }
}
