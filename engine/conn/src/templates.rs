//! Persistence: which server a client, or a network of clients, was sent to (kernel `ip_vs_sched_persist`).
//!
//! A template names a server for a client network and a service. Conns made by it hold it: while they live it does
//! not end, and once its own time-out has passed while they did, its time-out is a minute from then on (kernel
//! `ip_vs_conn_expire`, `expire_later`).
//!
//! Their memory is taken page by page as they become more, and what there is never moves: a first packet of a client waits
//! for no more than that.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use lb_model::{
    Addr, Dest, Endpoint, FlowKey, Persistence, ServiceId, ServiceKey, Time, VirtualService,
};

use crate::AgreedServers;
use crate::index::{Hash, Index};
use crate::looks;
use crate::pages::Pages;
use crate::wheel::{Link, Timers, Wheel};

/// What a template is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TemplateKey {
    /// The client's address under the service's netmask.
    pub client: Addr,
    /// What the clients asked for.
    pub asked: Asked,
}

impl TemplateKey {
    /// That of a client's packets to a service that keeps clients.
    pub fn of(service: &VirtualService, kept: &Persistence, flow: &FlowKey) -> TemplateKey {
        TemplateKey {
            client: kept.network_of(flow.source.addr),
            asked: match service.id() {
                ServiceId::Mark(mark) => Asked::Mark(mark.mark),
                ServiceId::Address(ServiceKey { vip, protocol }) => Asked::Service(ServiceKey {
                    vip: Endpoint::new(flow.destination.addr, vip.port),
                    protocol,
                }),
            },
        }
    }
}

/// What clients with one template asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Asked {
    /// A virtual service's address; port 0 stands for every port of a service with port 0.
    Service(ServiceKey),
    /// A service by its mark.
    Mark(u32),
}

/// A template's place; valid as long as a conn holds it, or until the next [`expire`](Templates::expire).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TemplateId(pub(crate) u32);

/// One template.
#[derive(Clone, Debug)]
pub struct Template {
    /// What it is found by.
    pub key: TemplateKey,
    /// The server it leads to.
    pub dest: Arc<Dest>,
    /// Whether a conn of it was ever established, or its UDP packets answered (kernel `ip_vs_control_assure_ct`).
    pub assured: bool,
    /// Whether it leads nobody to its server any more, and only waits for its end.
    pub forgotten: bool,
    timeout: Duration,
    /// When its time-out last began.
    since: Time,
    conns: u32,
}

impl Template {
    /// How long it lives after its last conn was opened.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When its last conn was opened.
    pub fn since(&self) -> Time {
        self.since
    }

    /// How long it lives from `now` on, if nothing happens.
    pub fn expires_in(&self, now: Time) -> Duration {
        self.timeout.saturating_sub(now.since(self.since))
    }
}

/// How long a template lives on after its time-out has passed while conns held it.
const HELD_ON: Duration = Duration::from_secs(60);

/// Templates that are looked at in one turn, in search of those whose servers were removed. They lie next to each other.
const SWEEP_PER_TURN: usize = 128;

/// A place for a template, and its timer. Where there is no template, its link leads to another such place.
struct Slot {
    template: Option<Template>,
    link: Link,
}

struct Slots(Pages<Slot>);

impl Slots {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// One more place, unless there are `capacity` already.
    fn add(&mut self, capacity: u32) -> Option<u32> {
        let id = u32::try_from(self.len()).ok().filter(|id| *id < capacity)?;
        self.0.push(Slot {
            template: None,
            link: Link::UNSET,
        });
        Some(id)
    }

    fn get(&self, id: u32) -> &Slot {
        looks::count();
        &self.0[id]
    }

    fn get_mut(&mut self, id: u32) -> &mut Slot {
        looks::count();
        &mut self.0[id]
    }

    fn template(&mut self, id: u32) -> &mut Template {
        self.get_mut(id).template.as_mut().expect(LIVE)
    }
}

impl Timers for Slots {
    fn link(&mut self, id: u32) -> &mut Link {
        &mut self.get_mut(id).link
    }

    fn due(&self, id: u32) -> Time {
        let template = self.get(id).template.as_ref().expect(LIVE);
        template.since + template.timeout
    }
}

/// The templates of one worker.
pub struct Templates {
    slots: Slots,
    capacity: u32,
    /// The last place that became free; its link leads to the one before.
    free: u32,
    live: u32,
    /// Of those that are found.
    index: Index,
    hasher: RandomState,
    wheel: Wheel,
    /// Where the search for templates whose servers were removed goes on.
    sweep: Option<u32>,
    /// Where all workers' templates lead, if there are several workers.
    agreed: Option<Arc<AgreedServers>>,
}

impl Templates {
    /// Room for `capacity` templates.
    pub fn new(capacity: u32) -> Templates {
        Templates {
            slots: Slots(Pages::new()),
            capacity,
            free: NONE,
            live: 0,
            index: Index::new(capacity.into()),
            hasher: RandomState::new(),
            wheel: Wheel::new(),
            sweep: None,
            agreed: None,
        }
    }

    /// They lead to the servers that all workers agree on, from now on; there is none yet.
    pub(crate) fn share(&mut self, agreed: Arc<AgreedServers>) {
        self.agreed = Some(agreed);
    }

    /// The server that other workers' templates with this key lead to, if it is one that `usable` takes.
    pub fn agreed(&self, key: &TemplateKey, usable: impl Fn(&Dest) -> bool) -> Option<Arc<Dest>> {
        self.agreed.as_ref()?.find(key, usable)
    }

    /// Whether there are none, held ones included.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The template with this key.
    pub fn find(&self, key: &TemplateKey) -> Option<TemplateId> {
        let is_it = |id| self.get(TemplateId(id)).key == *key;
        self.index.find(self.hash(key), is_it).map(TemplateId)
    }

    /// The template at `id`.
    pub fn get(&self, id: TemplateId) -> &Template {
        self.slots.get(id.0).template.as_ref().expect(LIVE)
    }

    /// Every template, forgotten ones included, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.slice(0..self.slots.len())
    }

    /// The templates in these places, of as many as there are conns.
    pub fn slice(&self, places: Range<usize>) -> impl Iterator<Item = &Template> {
        let end = places.end.min(self.slots.len());
        let slots = (places.start.min(end)..end).map(|id| self.slots.get(id as u32));
        slots.filter_map(|slot| slot.template.as_ref())
    }

    /// Makes a template, in place of one with the same key; `None` if there is no room. It leads to `dest`, unless
    /// another worker has just chosen one that is `usable`.
    pub fn open(
        &mut self,
        key: TemplateKey,
        dest: &Arc<Dest>,
        usable: impl Fn(&Dest) -> bool,
        timeout: Duration,
        now: Time,
    ) -> Option<TemplateId> {
        let id = self.take_free()?;
        let hash = self.hash(&key);
        // A template that this one replaces is not found any more, but lives as long as its conns.
        if let Some(replaced) = self.find(&key) {
            self.index.remove(hash, replaced.0);
        }
        if !self.index.insert(hash, id) {
            self.set_free(id);
            return None;
        }
        self.live += 1;
        let dest = match &self.agreed {
            Some(agreed) => agreed.enter(&key, dest, usable),
            None => {
                dest.template_opened();
                Arc::clone(dest)
            }
        };
        self.slots.get_mut(id).template = Some(Template {
            key,
            dest,
            assured: false,
            forgotten: false,
            timeout,
            since: now,
            conns: 0,
        });
        self.wheel.set(&mut self.slots, id);
        Some(TemplateId(id))
    }

    /// Lets a template be found no more, because its server is gone or quiesced.
    pub fn forget(&mut self, id: TemplateId) {
        let template = self.slots.template(id.0);
        template.forgotten = true;
        let key = template.key;
        // One that was replaced or forgotten before is not in there.
        self.index.remove(self.hash(&key), id.0);
    }

    /// A conn was made by the template and holds it; its time-out begins anew.
    pub fn hold(&mut self, id: TemplateId, now: Time) {
        let template = self.slots.template(id.0);
        template.conns += 1;
        template.since = now;
    }

    /// Another balancer has used its template like this one: the time-out is this from now on, and begins anew.
    pub fn renew(&mut self, id: TemplateId, timeout: Duration, now: Time) {
        let template = self.slots.template(id.0);
        (template.timeout, template.since) = (timeout, now);
        // It may be over sooner than before.
        self.wheel.clear(&mut self.slots, id.0);
        self.wheel.set(&mut self.slots, id.0);
    }

    /// A conn that held the template ended.
    pub fn let_go(&mut self, id: TemplateId) {
        self.slots.template(id.0).conns -= 1;
    }

    /// A conn of the template was established.
    pub fn assure(&mut self, id: TemplateId) {
        self.slots.template(id.0).assured = true;
    }

    /// Ends templates whose time-out is over at `now` and that no conn holds, as many as it finds by looking at `limit` of
    /// them, and by so many `moves` of timers.
    pub fn expire(&mut self, now: Time, limit: usize, moves: &mut usize) {
        self.sweep();
        for _ in 0..limit {
            self.wheel.advance(&mut self.slots, now, moves);
            let Some(id) = self.wheel.take_due(&mut self.slots) else {
                return;
            };
            let template = self.slots.template(id);
            if template.conns > 0 && template.since + template.timeout <= now {
                (template.timeout, template.since) = (HELD_ON, now);
            }
            if template.since + template.timeout > now {
                self.wheel.set(&mut self.slots, id);
            } else {
                self.close(TemplateId(id));
            }
        }
    }

    /// Ends templates whose server was removed and that no conn holds: some hundred at the next
    /// [`expire`](Templates::expire), the others with those after it.
    pub fn end_of_removed_dests(&mut self) {
        self.sweep = Some(0);
    }

    /// Whether the last [`expire`](Templates::expire) had more to do than it may at once.
    pub fn is_behind(&self) -> bool {
        self.sweep.is_some() || self.wheel.is_behind()
    }

    fn sweep(&mut self) {
        let Some(start) = self.sweep else { return };
        let mut ids = start..self.slots.len() as u32;
        for id in ids.by_ref().take(SWEEP_PER_TURN) {
            let gone = |template: &Template| template.conns == 0 && !template.dest.is_available();
            if self.slots.get(id).template.as_ref().is_some_and(gone) {
                self.wheel.clear(&mut self.slots, id);
                self.close(TemplateId(id));
            }
        }
        self.sweep = ids.next();
    }

    fn close(&mut self, id: TemplateId) {
        self.forget(id);
        if let Some(template) = self.slots.get_mut(id.0).template.take() {
            match &self.agreed {
                Some(agreed) => agreed.leave(&template.key, &template.dest),
                None => template.dest.template_ended(),
            }
            self.live -= 1;
            self.set_free(id.0);
        }
    }

    fn take_free(&mut self) -> Option<u32> {
        if self.free == NONE {
            return self.slots.add(self.capacity);
        }
        let id = self.free;
        self.free = std::mem::replace(&mut self.slots.get_mut(id).link, Link::UNSET).next;
        Some(id)
    }

    fn set_free(&mut self, id: u32) {
        let next = std::mem::replace(&mut self.free, id);
        self.slots.get_mut(id).link = Link {
            next,
            ..Link::UNSET
        };
    }

    fn hash(&self, key: &TemplateKey) -> Hash {
        self.index.hash(self.hasher.hash_one(key))
    }
}

/// The end of the list of free places.
const NONE: u32 = u32::MAX;

/// A template ends when no conn holds it, between batches.
const LIVE: &str = "an id that a conn holds names a live template";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::MOVES;

    fn key() -> TemplateKey {
        TemplateKey {
            client: Addr::v4([192, 0, 2, 0]),
            asked: Asked::Mark(7),
        }
    }

    fn dest() -> Arc<Dest> {
        Arc::new(Dest::new("10.1.0.11:80".parse().expect("valid"), 1))
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    #[test]
    fn a_template_ends_when_its_time_out_is_over_and_each_use_begins_it_anew() {
        let (mut templates, dest) = (Templates::new(4), dest());
        let id = templates
            .open(key(), &dest, |_| true, FIVE_MINUTES, at(0))
            .expect("room");
        assert_eq!(dest.persistent(), 1);
        templates.hold(id, at(200));
        templates.let_go(id);
        templates.expire(at(499), 9, &mut { MOVES });
        assert_eq!(templates.find(&key()), Some(id));
        templates.expire(at(501), 9, &mut { MOVES });
        assert_eq!(templates.find(&key()), None);
        assert_eq!(dest.persistent(), 0);
    }

    #[test]
    fn a_template_that_another_balancer_has_used_lives_as_long_as_that_ones() {
        let (mut templates, dest) = (Templates::new(4), dest());
        let id = templates
            .open(key(), &dest, |_| true, FIVE_MINUTES, at(0))
            .expect("room");
        templates.renew(id, Duration::from_secs(60), at(10));
        templates.expire(at(69), 9, &mut { MOVES });
        assert_eq!(templates.find(&key()), Some(id));
        templates.renew(id, FIVE_MINUTES, at(69));
        templates.expire(at(368), 9, &mut { MOVES });
        assert_eq!(templates.find(&key()), Some(id));
        templates.expire(at(370), 9, &mut { MOVES });
        assert_eq!(templates.find(&key()), None);
    }

    #[test]
    fn a_template_outlives_its_time_out_while_held_and_lives_a_minute_at_a_time_then() {
        let (mut templates, dest) = (Templates::new(4), dest());
        let id = templates
            .open(key(), &dest, |_| true, FIVE_MINUTES, at(0))
            .expect("room");
        templates.hold(id, at(0));
        templates.expire(at(301), 9, &mut { MOVES });
        assert_eq!(
            templates.get(id).expires_in(at(301)),
            Duration::from_secs(60)
        );
        templates.hold(id, at(310));
        templates.let_go(id);
        templates.let_go(id);
        templates.expire(at(369), 9, &mut { MOVES });
        assert_eq!(templates.find(&key()), Some(id));
        templates.expire(at(371), 9, &mut { MOVES });
        assert_eq!(templates.find(&key()), None);
    }

    #[test]
    fn a_forgotten_template_makes_way_and_its_place_comes_back_when_its_conns_are_gone() {
        let (mut templates, dest) = (Templates::new(2), dest());
        let old = templates
            .open(key(), &dest, |_| true, FIVE_MINUTES, at(0))
            .expect("room");
        templates.hold(old, at(0));
        templates.forget(old);
        assert_eq!(templates.find(&key()), None);
        let new = templates
            .open(key(), &dest, |_| true, FIVE_MINUTES, at(1))
            .expect("room");
        assert_eq!(
            templates.open(key(), &dest, |_| true, FIVE_MINUTES, at(1)),
            None
        );
        assert_eq!(templates.find(&key()), Some(new));
        templates.let_go(old);
        templates.expire(at(400), 9, &mut { MOVES });
        assert_eq!(dest.persistent(), 0);
    }

    #[test]
    fn templates_of_a_removed_server_end_a_number_at_a_time_and_make_room() {
        const CLIENTS: u32 = 3 * SWEEP_PER_TURN as u32 / 2;
        let (mut templates, gone, stays) = (Templates::new(2 * CLIENTS), dest(), dest());
        let open = |templates: &mut Templates, dest: &Arc<Dest>, mark: u32| {
            let key = TemplateKey {
                asked: Asked::Mark(mark),
                ..key()
            };
            templates.open(key, dest, |_| true, FIVE_MINUTES, at(0))
        };
        for mark in 0..CLIENTS {
            for (dest, mark) in [(&gone, mark), (&stays, CLIENTS + mark)] {
                assert!(open(&mut templates, dest, mark).is_some());
            }
        }
        assert_eq!(open(&mut templates, &stays, 2 * CLIENTS), None);
        gone.removed();
        templates.end_of_removed_dests();
        for left in [2, 1, 0] {
            assert!(templates.is_behind());
            templates.expire(at(0), 9, &mut { MOVES });
            let left = CLIENTS * left / 3;
            assert_eq!((gone.persistent(), stays.persistent()), (left, CLIENTS));
        }
        assert!(!templates.is_behind());
        assert_eq!(templates.iter().count(), CLIENTS as usize);
        for mark in 0..CLIENTS {
            assert!(open(&mut templates, &stays, mark).is_some());
        }
    }
}
