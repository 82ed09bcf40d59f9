//! All virtual services, for workers that look them up by name and by number, and for whoever edits them one by one.

use std::array;
use std::collections::HashSet;
use std::ops::Index;
use std::sync::Arc;

use lb_model::{Endpoint, Mode, Protocol, ServiceId, VirtualService};

use super::shared_map::SharedMap;

/// A page is copied when one of its services changes.
const PAGE: usize = 64;

type Page = [Option<Arc<Entry>>; PAGE];

/// Where replies come from.
pub(super) type ReplySource = (Endpoint, Protocol);

/// All virtual services, in the order in which they were added, each with a number.
///
/// A copy shares with the original what neither has changed since: an edit costs what it changes, with ten services as
/// with ten thousand. Numbers are good in the copy in which they were found. They change when, after many removals, the
/// others close ranks.
#[derive(Clone, Default)]
pub struct Services {
    /// By number; `None` where a service was removed.
    pages: Vec<Arc<Page>>,
    /// The number of the next that is added.
    next: usize,
    len: usize,
    numbers: SharedMap<ServiceId, u32>,
    modes: Arc<[Arc<dyn Mode>]>,
    /// The servers whose replies come through us, and how many services each is of.
    replying: SharedMap<ReplySource, u32>,
    /// Services that take packets to ports without a service of their own.
    any_port: usize,
    highest_slot: u32,
}

struct Entry {
    service: VirtualService,
    /// As it was counted: a server's mode can be another one by the time that it is not any more.
    replying: Vec<ReplySource>,
}

impl Services {
    /// No services; theirs will be modes of these.
    pub fn new(modes: &[Arc<dyn Mode>]) -> Services {
        Services {
            modes: modes.into(),
            ..Services::default()
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, in the order in which they were added.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &VirtualService> + Clone {
        let entries = self.pages.iter().flat_map(|page| page.iter().flatten());
        entries.map(|entry| &entry.service)
    }

    /// The number of the service of this name.
    #[inline]
    pub fn find(&self, id: &ServiceId) -> Option<u32> {
        self.numbers.get(id)
    }

    /// The service of this number.
    #[inline]
    pub fn get(&self, number: usize) -> Option<&VirtualService> {
        Some(&self.entry(number)?.service)
    }

    /// The service of this name.
    pub fn named(&self, id: &ServiceId) -> Option<&VirtualService> {
        self.get(self.find(id)? as usize)
    }

    /// Adds a service, or replaces the one of its name.
    pub fn put(&mut self, service: VirtualService) {
        let id = service.id();
        let number = self.find(&id).unwrap_or_else(|| {
            let number = self.next;
            self.take_place(number, id);
            number as u32
        });
        let slots = service.dests().iter().map(|dest| dest.slot());
        self.highest_slot = slots.fold(self.highest_slot, u32::max);
        let replying = self.reply_sources(&service);
        let entry = Arc::new(Entry { service, replying });
        let before = self.place(number as usize).replace(Arc::clone(&entry));
        let before = before
            .as_ref()
            .map_or(&[][..], |before| &before.replying[..]);
        self.recount(before, &entry.replying);
    }

    /// Removes the service of this name, if there is one.
    pub fn remove(&mut self, id: &ServiceId) {
        let Some(number) = self.numbers.remove(id) else {
            return;
        };
        if let Some(gone) = self.place(number as usize).take() {
            self.recount(&gone.replying, &[]);
        }
        self.len -= 1;
        self.any_port -= usize::from(takes_any_port(id));
        // Each service is moved for one that was removed, so no removal pays for more than one.
        if self.next > 2 * self.len + PAGE {
            self.close_ranks();
        }
    }

    /// The modes, by their numbers.
    pub(super) fn modes(&self) -> &[Arc<dyn Mode>] {
        &self.modes
    }

    /// Whether a service takes packets to ports that have no service of their own.
    #[inline]
    pub(super) fn take_any_port(&self) -> bool {
        self.any_port > 0
    }

    pub(super) fn is_replying(&self, source: &ReplySource) -> bool {
        self.replying.get(source).is_some()
    }

    /// The highest slot that one of their servers ever had.
    pub(crate) fn highest_slot(&self) -> u32 {
        self.highest_slot
    }

    /// All numbers are lower.
    pub(crate) fn places(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The numbers of what is not the same in `before`; one page is compared at a time.
    pub(crate) fn changed_since(&self, before: &Services) -> impl Iterator<Item = usize> {
        let pages = 0..self.pages.len().max(before.pages.len());
        let differ = move |page: &usize| match (self.pages.get(*page), before.pages.get(*page)) {
            (Some(now), Some(then)) => !Arc::ptr_eq(now, then),
            _ => true,
        };
        let places = pages
            .filter(differ)
            .flat_map(|page| page * PAGE..(page + 1) * PAGE);
        places.filter(
            move |place| match (self.entry(*place), before.entry(*place)) {
                (Some(now), Some(then)) => !Arc::ptr_eq(now, then),
                (now, then) => now.is_some() || then.is_some(),
            },
        )
    }

    #[inline]
    fn entry(&self, number: usize) -> Option<&Arc<Entry>> {
        self.pages.get(number / PAGE)?[number % PAGE].as_ref()
    }

    fn place(&mut self, number: usize) -> &mut Option<Arc<Entry>> {
        &mut Arc::make_mut(&mut self.pages[number / PAGE])[number % PAGE]
    }

    fn take_place(&mut self, number: usize, id: ServiceId) {
        if number == self.places() {
            self.pages.push(Arc::new(array::from_fn(|_| None)));
        }
        self.numbers.insert(id, number as u32);
        self.next = number + 1;
        self.len += 1;
        self.any_port += usize::from(takes_any_port(&id));
    }

    fn close_ranks(&mut self) {
        let pages = std::mem::take(&mut self.pages);
        let entries = pages.iter().flat_map(|page| page.iter().flatten());
        (self.next, self.len, self.any_port) = (0, 0, 0);
        for entry in entries {
            let number = self.next;
            self.take_place(number, entry.service.id());
            *self.place(number) = Some(Arc::clone(entry));
        }
    }

    fn reply_sources(&self, service: &VirtualService) -> Vec<ReplySource> {
        let Some(key) = service.key() else {
            return Vec::new();
        };
        let passes_us = |mode: u8| {
            let mode = self.modes.get(usize::from(mode));
            mode.is_some_and(|mode| mode.replies().pass_through_us())
        };
        let dests = service.dests().iter();
        let dests = dests.filter(|dest| passes_us(dest.mode()));
        dests.map(|dest| (dest.rip(), key.protocol)).collect()
    }

    fn recount(&mut self, before: &[ReplySource], after: &[ReplySource]) {
        if before == after {
            return;
        }
        let sources =
            |list: &[ReplySource]| -> HashSet<ReplySource> { list.iter().copied().collect() };
        let (before, after) = (sources(before), sources(after));
        for source in after.difference(&before) {
            let services = self.replying.get(source).unwrap_or(0);
            self.replying.insert(*source, services + 1);
        }
        for source in before.difference(&after) {
            match self.replying.get(source) {
                Some(services @ 2..) => self.replying.insert(*source, services - 1),
                _ => {
                    self.replying.remove(source);
                }
            }
        }
    }
}

impl Index<usize> for Services {
    type Output = VirtualService;

    /// The service of a number that was [found](Services::find) here.
    #[inline]
    fn index(&self, number: usize) -> &VirtualService {
        self.get(number).expect("found in this copy")
    }
}

fn takes_any_port(id: &ServiceId) -> bool {
    matches!(id, ServiceId::Address(key) if key.vip.port == 0)
}

#[cfg(test)]
mod tests {
    use lb_model::{Dest, Dests, Request, Scheduler, SchedulerFlags, ServiceKey, ServiceSettings};

    use super::*;

    struct Never;

    impl Scheduler for Never {
        fn schedule(&mut self, _: &Request<'_>, _: &Dests) -> Option<usize> {
            None
        }
    }

    fn id(vip: usize) -> ServiceId {
        let vip = u32::try_from(vip).expect("few").to_be_bytes();
        let vip = Endpoint::new(lb_model::Addr::v4(vip), 80);
        let protocol = Protocol::Tcp;
        ServiceKey { vip, protocol }.into()
    }

    fn service(id: ServiceId) -> VirtualService {
        let scheduler = Arc::new(|| Box::new(Never) as Box<dyn Scheduler>);
        let server = Dest::new("10.0.0.1:80".parse().expect("valid"), 1);
        let dests = Dests::new(vec![Arc::new(server)], &*scheduler);
        let settings = ServiceSettings {
            scheduler_name: "never".into(),
            scheduler,
            scheduler_life: Arc::default(),
            scheduler_flags: SchedulerFlags::default(),
            persistence: None,
            persistence_engine: None,
            one_packet: false,
            local_addresses: Arc::default(),
            client_address: None,
        };
        VirtualService::new(id, settings, Arc::new(dests))
    }

    fn of(vips: impl IntoIterator<Item = usize>) -> Services {
        let mut services = Services::default();
        vips.into_iter()
            .for_each(|vip| services.put(service(id(vip))));
        services
    }

    fn pages_apart(one: &Services, other: &Services) -> usize {
        let pages = one.pages.iter().zip(&other.pages);
        pages
            .filter(|(one, other)| !Arc::ptr_eq(one, other))
            .count()
    }

    #[test]
    fn an_edit_of_one_of_ten_thousand_copies_its_page_and_no_other() {
        let mut services = of(0..10_000);
        let before = services.clone();
        services.put(service(id(5000)));
        assert_eq!(pages_apart(&before, &services), 1);
        let changed: Vec<usize> = services.changed_since(&before).collect();
        assert_eq!(changed, [5000]);
        services.remove(&id(77));
        services.put(service(id(10_000)));
        assert_eq!(pages_apart(&before, &services), 3);
        let changed: Vec<usize> = services.changed_since(&before).collect();
        assert_eq!(changed, [77, 5000, 10_000]);
        assert_eq!(before.len(), 10_000);
        assert_eq!(before.named(&id(77)).map(VirtualService::id), Some(id(77)));
    }

    #[test]
    fn services_keep_their_order_and_are_found_whatever_is_removed_between_them() {
        let mut services = of(0..1000);
        let stays = |vip: &usize| vip % 10 == 3;
        (0..1000)
            .filter(|vip| !stays(vip))
            .for_each(|vip| services.remove(&id(vip)));
        services.put(service(id(5)));
        let expected: Vec<ServiceId> = (0..1000).filter(stays).chain([5]).map(id).collect();
        let listed: Vec<ServiceId> = services.iter().map(VirtualService::id).collect();
        assert_eq!(listed, expected);
        assert_eq!(services.len(), 101);
        assert!(
            services.places() < 1000,
            "those that were removed left room"
        );
        for id in expected {
            let number = services.find(&id).expect("there") as usize;
            assert_eq!(services[number].id(), id);
        }
        assert_eq!(services.find(&id(4)), None);
    }

    #[test]
    fn any_port_is_taken_as_long_as_a_service_takes_it() {
        let any = ServiceKey {
            vip: "10.0.0.1:0".parse().expect("valid"),
            protocol: Protocol::Udp,
        };
        let mut services = of([1]);
        assert!(!services.take_any_port());
        services.put(service(any.into()));
        services.put(service(any.into()));
        assert!(services.take_any_port());
        services.remove(&any.into());
        services.remove(&any.into());
        assert!(!services.take_any_port());
    }
}
