//! The virtual server table: what ipvsadm edits, with the kernel's rules for what an edit means
//! (`net/netfilter/ipvs/ip_vs_ctl.c`).

mod drain;
mod hold;
mod local_addresses;
mod places;
mod refusal;
mod spec;
mod switches;
mod traffic;
mod whole;

use std::sync::Arc;

use lb_conn::Timeouts;
use lb_model::{
    Dest, Dests, Endpoint, IpvsSettings, MarkRule, ServiceId, ServiceSettings, VirtualService,
};
use lb_runtime::{Services, Snapshot};

use crate::Registry;
pub use drain::{Drain, ParseServerAddressError, ServerAddress};
use hold::Holds;
pub use hold::{Limit, Member};
use places::Places;
pub use refusal::Refusal;
pub use spec::{FullNatSpec, ServerSpec, ServiceSpec};
use traffic::Accounts;
pub use traffic::Counted;

/// Removed servers without conns that are remembered; the kernel remembers all, for two minutes.
const IDLE_TRASH: usize = 256;

/// All virtual services with their servers, as they can be edited.
pub struct ServiceTable {
    registry: Registry,
    services: Services,
    /// Servers that were removed: one that is added again takes up the conns that it still has, and its place in what
    /// schedulers remember of it (kernel `dest_trash`). The oldest come first.
    trash: Vec<(ServiceId, Arc<Dest>)>,
    marks: Arc<[MarkRule]>,
    settings: IpvsSettings,
    timeouts: Timeouts,
    holds: Holds,
    accounts: Accounts,
    places: Places,
}

impl ServiceTable {
    /// An empty table, whose services can name what is in `registry`.
    pub fn new(registry: Registry) -> ServiceTable {
        ServiceTable {
            services: Services::new(registry.modes()),
            registry,
            trash: Vec::new(),
            marks: Arc::default(),
            settings: IpvsSettings::default(),
            timeouts: Timeouts::default(),
            holds: Holds::default(),
            accounts: Accounts::default(),
            places: Places::default(),
        }
    }

    /// The services, in the order in which they were added.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The service of this name.
    pub fn service(&self, id: ServiceId) -> Result<&VirtualService, Refusal> {
        self.services.named(&id).ok_or(Refusal::NoSuchService)
    }

    /// The name of the mode that a server's new conns get.
    pub fn mode_name(&self, dest: &Dest) -> &'static str {
        self.registry.modes()[usize::from(dest.mode())].name()
    }

    /// All modes, by their numbers.
    pub fn modes(&self) -> &[Arc<dyn lb_model::Mode>] {
        self.registry.modes()
    }

    /// The time-outs of conns.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Other time-outs, for every conn from its next packet on (ipvsadm `--set`).
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// Adds a service without servers (ipvsadm `-A`).
    pub fn add_service(&mut self, spec: &ServiceSpec) -> Result<(), Refusal> {
        if self.service(spec.id).is_ok() {
            return Err(Refusal::ServiceExists);
        }
        let settings = self.settings_of(spec, None)?;
        let dests = Dests::new(Vec::new(), &*settings.scheduler);
        let service = VirtualService::new(spec.id, settings, Arc::new(dests));
        self.services.put(service);
        self.accounts.service_added(spec.id);
        Ok(())
    }

    /// Replaces a service's settings (ipvsadm `-E`). A scheduler that stays keeps its state.
    pub fn edit_service(&mut self, spec: &ServiceSpec) -> Result<(), Refusal> {
        let before = self.service(spec.id)?;
        let settings = self.settings_of(spec, Some(before.settings()))?;
        if !are_same(before.settings(), &settings) {
            let edited = with_settings(before, settings);
            self.services.put(edited);
        }
        Ok(())
    }

    /// Removes a service (ipvsadm `-D`); conns of its servers remain, as after the removal of each.
    pub fn delete_service(&mut self, id: ServiceId) -> Result<(), Refusal> {
        let service = self.service(id)?.clone();
        self.services.remove(&id);
        self.holds.forget_service(id);
        self.discard_service(&service);
        Ok(())
    }

    /// Removes all services (ipvsadm `-C`).
    pub fn clear(&mut self) {
        self.holds = Holds::default();
        let none = Services::new(self.registry.modes());
        for service in std::mem::replace(&mut self.services, none).iter() {
            self.discard_service(service);
        }
    }

    /// Adds a server to a service (ipvsadm `-a`), at the head of its list. One that was removed before takes up the
    /// conns that it still has; one that is kept [out](Limit::Out) is quiesced from now on.
    pub fn add_server(&mut self, id: ServiceId, spec: &ServerSpec) -> Result<(), Refusal> {
        self.may_join(id, spec)?;
        self.holds.return_quiesced(id, spec.rip);
        self.holds.give(id, spec.rip, spec.weight);
        self.put_server(id, spec)
    }

    /// Whether the service can have this server and does not have it.
    fn may_join(&self, id: ServiceId, spec: &ServerSpec) -> Result<(), Refusal> {
        let service = self.service(id)?;
        let mode = self.mode_of(spec)?;
        if id.is_v4() != spec.rip.addr.is_v4()
            && !self.registry.modes()[usize::from(mode)].crosses_families()
        {
            return Err(Refusal::OtherFamily);
        }
        match service.dests().iter().any(|dest| dest.rip() == spec.rip) {
            true => Err(Refusal::ServerExists),
            false => Ok(()),
        }
    }

    /// Puts a server at the head of its service's list.
    fn put_server(&mut self, id: ServiceId, spec: &ServerSpec) -> Result<(), Refusal> {
        let list = self.service(id)?.dests().to_vec();
        let mode = self.mode_of(spec)?;
        let weight = self.holds.weight(id, spec.rip, spec.weight);
        let discarded = self
            .trash
            .iter()
            .position(|(of, dest)| *of == id && dest.rip() == spec.rip);
        let dest = match discarded {
            Some(at) => {
                let dest = self.trash.remove(at).1;
                self.accounts.server_added_again(&dest);
                dest
            }
            None => {
                let slot = self.accounts.slots.take();
                let dest = Dest::new(spec.rip, weight).with_slot(slot);
                self.accounts.server_made(&dest);
                Arc::new(dest)
            }
        };
        dest.set_mode(mode);
        dest.set_tunnel(spec.tunnel);
        dest.added_again(weight, spec.thresholds);
        let list = [dest].into_iter().chain(list).collect();
        self.renew_dests(id, list)
    }

    /// Replaces a server's settings (ipvsadm `-e`). Who gives a weight ends a [drain](ServiceTable::drain).
    pub fn edit_server(&mut self, id: ServiceId, spec: &ServerSpec) -> Result<(), Refusal> {
        self.service(id)?;
        let mode = self.mode_of(spec)?;
        if let Some(out) = self.holds.out_mut(id, spec.rip) {
            *out = spec.clone();
            self.holds.give(id, spec.rip, spec.weight);
            return Ok(());
        }
        let dest = Arc::clone(self.server(id, spec.rip).ok_or(Refusal::NoSuchServer)?);
        dest.set_mode(mode);
        dest.set_tunnel(spec.tunnel);
        dest.set_weight(self.holds.give(id, spec.rip, spec.weight));
        dest.set_thresholds(spec.thresholds);
        self.server_edited(id)
    }

    /// Removes a server from a service (ipvsadm `-d`). Its conns remain until they time out, but their packets are
    /// dropped; with `expire_nodest_conn` they end at once.
    pub fn delete_server(&mut self, id: ServiceId, rip: Endpoint) -> Result<(), Refusal> {
        self.service(id)?;
        match self.holds.forget(id, rip) {
            true => Ok(()),
            false => self.take_server(id, rip),
        }
    }

    /// Takes a server from its service's list.
    fn take_server(&mut self, id: ServiceId, rip: Endpoint) -> Result<(), Refusal> {
        let mut list = self.service(id)?.dests().to_vec();
        let place = list
            .iter()
            .position(|dest| dest.rip() == rip)
            .ok_or(Refusal::NoSuchServer)?;
        let dest = list.remove(place);
        self.discard(id, &dest);
        self.renew_dests(id, list)
    }

    /// The server of this address in the service of this name.
    pub(crate) fn server(&self, id: ServiceId, rip: Endpoint) -> Option<&Arc<Dest>> {
        let service = self.services.named(&id)?;
        service.dests().iter().find(|dest| dest.rip() == rip)
    }

    /// The table as workers see it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.services.clone())
            .with_marks(Arc::clone(&self.marks))
            .with_settings(self.settings, self.timeouts.clone())
    }

    /// What a server is, with the weight that it has now.
    fn spec_of(&self, dest: &Dest) -> ServerSpec {
        ServerSpec {
            rip: dest.rip(),
            mode: self.mode_name(dest).to_owned(),
            weight: dest.weight(),
            thresholds: dest.thresholds(),
            tunnel: dest.tunnel(),
        }
    }

    fn mode_of(&self, spec: &ServerSpec) -> Result<u8, Refusal> {
        Ok(self.registry.mode(&spec.mode).ok_or(Refusal::NoSuchMode)?.0)
    }

    fn settings_of(
        &self,
        spec: &ServiceSpec,
        before: Option<&ServiceSettings>,
    ) -> Result<ServiceSettings, Refusal> {
        let same_name = before.filter(|before| before.scheduler_name == spec.scheduler);
        let scheduler = match same_name {
            Some(before) if before.scheduler_flags == spec.scheduler_flags => {
                Arc::clone(&before.scheduler)
            }
            _ => self
                .registry
                .scheduler(&spec.scheduler, &self.options(spec.scheduler_flags))
                .ok_or(Refusal::NoSuchScheduler)?,
        };
        let scheduler_life = same_name.map(|before| Arc::clone(&before.scheduler_life));
        let (local_addresses, client_address) = match (&spec.full_nat, before) {
            (Some(wanted), _) => (
                wanted.local_addresses.as_slice().into(),
                wanted.client_address,
            ),
            (None, Some(before)) => (Arc::clone(&before.local_addresses), before.client_address),
            (None, None) => Default::default(),
        };
        Ok(ServiceSettings {
            scheduler_name: spec.scheduler.clone(),
            scheduler,
            scheduler_life: scheduler_life.unwrap_or_default(),
            scheduler_flags: spec.scheduler_flags,
            persistence: spec.persistence,
            persistence_engine: spec.persistence_engine.clone(),
            one_packet: spec.one_packet,
            local_addresses,
            client_address,
        })
    }

    /// One of the service's servers is not what it was.
    fn server_edited(&mut self, id: ServiceId) -> Result<(), Refusal> {
        let list = self.service(id)?.dests().to_vec();
        self.renew_dests(id, list)
    }

    fn renew_dests(&mut self, id: ServiceId, list: Vec<Arc<Dest>>) -> Result<(), Refusal> {
        let settings = self.service(id)?.settings().clone();
        let dests = Dests::new(list, &*settings.scheduler);
        self.services
            .put(VirtualService::new(id, settings, Arc::new(dests)));
        Ok(())
    }

    fn discard_service(&mut self, service: &VirtualService) {
        let id = service.id();
        for dest in service.dests().iter() {
            self.discard(id, dest);
        }
        for (_, dest) in self.trash.iter().filter(|(of, _)| *of == id) {
            self.accounts.orphaned(dest);
        }
        self.accounts.service_removed(id);
    }

    fn discard(&mut self, id: ServiceId, dest: &Arc<Dest>) {
        dest.removed();
        self.accounts.server_removed(id, dest);
        let idle = |dest: &Dest| dest.total() + dest.persistent() == 0;
        if self.trash.iter().filter(|(_, dest)| idle(dest)).count() >= IDLE_TRASH
            && let Some(oldest) = self.trash.iter().position(|(_, dest)| idle(dest))
        {
            self.trash.remove(oldest);
        }
        self.trash.push((id, Arc::clone(dest)));
    }
}

/// The service with other settings; its dests are prepared for its scheduler if that is told something else.
fn with_settings(service: &VirtualService, settings: ServiceSettings) -> VirtualService {
    let same = Arc::ptr_eq(&service.settings().scheduler, &settings.scheduler);
    let dests = match same {
        true => Arc::clone(service.dests()),
        false => Arc::new(service.dests().prepared_by(&*settings.scheduler)),
    };
    VirtualService::new(service.id(), settings, dests)
}

fn are_same(one: &ServiceSettings, other: &ServiceSettings) -> bool {
    let ServiceSettings {
        scheduler_name,
        scheduler,
        scheduler_life,
        scheduler_flags,
        persistence,
        persistence_engine,
        one_packet,
        local_addresses,
        client_address,
    } = one;
    *scheduler_name == other.scheduler_name
        && Arc::ptr_eq(scheduler, &other.scheduler)
        && Arc::ptr_eq(scheduler_life, &other.scheduler_life)
        && *scheduler_flags == other.scheduler_flags
        && *persistence == other.persistence
        && *persistence_engine == other.persistence_engine
        && *one_packet == other.one_packet
        && *local_addresses == other.local_addresses
        && *client_address == other.client_address
}
