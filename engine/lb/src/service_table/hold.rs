//! What keeps servers from having their whole weight: a drain, or a limit set by whoever watches over them. The weight
//! that an administrator gave them is kept meanwhile, and can be changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_model::{Dest, Endpoint, ServiceId};

use super::{Refusal, ServerSpec, ServiceTable};

/// How far a server may take part in its service, whatever weight it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Limit {
    /// With all of its weight.
    #[default]
    None,
    /// With `part` of `of` parts of its weight, rounded down, but with 1 at least if it was given any.
    Share {
        /// Of `of`; more are as many.
        part: u32,
        /// Not 0.
        of: u32,
    },
    /// Without weight: its conns live on, and it gets no new ones.
    Quiesced,
    /// Not at all: as if it had been [removed](ServiceTable::delete_server).
    Out,
}

impl Limit {
    /// What is left of `weight`.
    pub fn of(self, weight: u32) -> u32 {
        match self {
            Limit::None => weight,
            Limit::Share { part, of } => {
                let share = u64::from(weight) * u64::from(part) / u64::from(of.max(1));
                (share.max(1) as u32).min(weight)
            }
            Limit::Quiesced | Limit::Out => 0,
        }
    }
}

/// A server as a member of its service, whether it takes part or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// RIP:rport.
    pub rip: Endpoint,
    /// The weight that it was given.
    pub given: u32,
    /// The weight that schedulers see.
    pub weight: u32,
    /// Whether it is being drained.
    pub drained: bool,
    /// How far it may take part.
    pub limit: Limit,
}

/// Why a server does not have the weight that it was given.
#[derive(Clone, Debug)]
struct Hold {
    given: u32,
    drained: bool,
    limit: Limit,
    /// What it is to be when it comes back, if it is out.
    out: Option<ServerSpec>,
}

impl Hold {
    fn weight(&self) -> u32 {
        match self.drained {
            true => 0,
            false => self.limit.of(self.given),
        }
    }

    fn is_void(&self) -> bool {
        !self.drained && self.limit == Limit::None
    }
}

/// All servers that are held.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    holds: BTreeMap<(ServiceId, Endpoint), Hold>,
    /// Servers that no configuration names.
    stand_ins: Vec<(ServiceId, Endpoint)>,
}

impl Holds {
    /// The weight that a server was given whose weight is `weight`.
    pub(crate) fn given(&self, service: ServiceId, rip: Endpoint, weight: u32) -> u32 {
        self.holds
            .get(&(service, rip))
            .map_or(weight, |hold| hold.given)
    }

    /// The weight that a server has that is given `given`.
    pub(crate) fn weight(&self, service: ServiceId, rip: Endpoint, given: u32) -> u32 {
        self.holds.get(&(service, rip)).map_or(given, Hold::weight)
    }

    pub(crate) fn is_drained(&self, service: ServiceId, rip: Endpoint) -> bool {
        self.holds
            .get(&(service, rip))
            .is_some_and(|hold| hold.drained)
    }

    /// A server is given a weight, which ends a drain; the weight that it has then.
    pub(crate) fn give(&mut self, service: ServiceId, rip: Endpoint, given: u32) -> u32 {
        let Some(hold) = self.holds.get_mut(&(service, rip)) else {
            return given;
        };
        (hold.given, hold.drained) = (given, false);
        self.settled(service, rip, given)
    }

    /// Begins or ends a drain of a server whose weight is `weight`; the weight that it has then.
    pub(crate) fn set_drained(
        &mut self,
        service: ServiceId,
        rip: Endpoint,
        weight: u32,
        drained: bool,
    ) -> u32 {
        self.of(service, rip, weight).drained = drained;
        self.settled(service, rip, weight)
    }

    fn set_limit(&mut self, service: ServiceId, rip: Endpoint, weight: u32, limit: Limit) -> u32 {
        self.of(service, rip, weight).limit = limit;
        self.settled(service, rip, weight)
    }

    fn of(&mut self, service: ServiceId, rip: Endpoint, weight: u32) -> &mut Hold {
        let free = || Hold {
            given: weight,
            drained: false,
            limit: Limit::None,
            out: None,
        };
        self.holds.entry((service, rip)).or_insert_with(free)
    }

    /// The weight of a server, whose hold goes if nothing holds it any more.
    fn settled(&mut self, service: ServiceId, rip: Endpoint, weight: u32) -> u32 {
        let Some(hold) = self.holds.get(&(service, rip)) else {
            return weight;
        };
        let weight = hold.weight();
        if hold.is_void() {
            self.holds.remove(&(service, rip));
        }
        weight
    }

    /// The server is gone; whether it was out, and so not in its service's list.
    pub(crate) fn forget(&mut self, service: ServiceId, rip: Endpoint) -> bool {
        self.stand_ins.retain(|of| *of != (service, rip));
        let hold = self.holds.remove(&(service, rip));
        hold.is_some_and(|hold| hold.out.is_some())
    }

    pub(crate) fn forget_service(&mut self, service: ServiceId) {
        self.holds.retain(|(of, _), _| *of != service);
        self.stand_ins.retain(|(of, _)| *of != service);
    }

    pub(crate) fn drained(&self) -> impl Iterator<Item = (ServiceId, Endpoint, u32)> {
        let holds = self.holds.iter().filter(|(_, hold)| hold.drained);
        holds.map(|((service, rip), hold)| (*service, *rip, hold.given))
    }

    /// What a server is to be that is out.
    pub(crate) fn out_mut(&mut self, service: ServiceId, rip: Endpoint) -> Option<&mut ServerSpec> {
        self.holds.get_mut(&(service, rip))?.out.as_mut()
    }

    /// A service's servers that are out, with the weights that they were given, and whether they are drained.
    pub(crate) fn out(&self, service: ServiceId) -> impl Iterator<Item = (ServerSpec, bool)> {
        let holds = self.holds.iter().filter(move |((of, _), _)| *of == service);
        holds.filter_map(|(_, hold)| {
            let spec = hold.out.clone()?;
            let weight = hold.given;
            Some((ServerSpec { weight, ..spec }, hold.drained))
        })
    }

    /// Somebody adds a server that is out: it is there again, and quiesced.
    pub(crate) fn return_quiesced(&mut self, service: ServiceId, rip: Endpoint) {
        if let Some(hold) = self.holds.get_mut(&(service, rip))
            && hold.out.take().is_some()
        {
            hold.limit = Limit::Quiesced;
        }
    }

    /// Whether a server is there in place of others, and named by no configuration.
    pub(crate) fn is_stand_in(&self, service: ServiceId, rip: Endpoint) -> bool {
        self.stand_ins.contains(&(service, rip))
    }
}

impl ServiceTable {
    /// Limits how far a server takes part, or ends that with [`Limit::None`]. The weight that it was given meanwhile, or
    /// before, is what counts again afterwards.
    pub fn limit_server(
        &mut self,
        id: ServiceId,
        rip: Endpoint,
        limit: Limit,
    ) -> Result<(), Refusal> {
        if let Some(spec) = self.holds.out_mut(id, rip) {
            if limit == Limit::Out {
                return Ok(());
            }
            let spec = spec.clone();
            let hold = self.holds.of(id, rip, spec.weight);
            (hold.limit, hold.out) = (limit, None);
            let weight = hold.given;
            return self.put_server(id, &ServerSpec { weight, ..spec });
        }
        let dest = self.server(id, rip).ok_or(Refusal::NoSuchServer)?;
        let before = dest.weight();
        let spec = self.spec_of(dest);
        let weight = self.holds.set_limit(id, rip, before, limit);
        if limit == Limit::Out {
            self.holds.of(id, rip, before).out = Some(spec);
            return self.take_server(id, rip);
        }
        if weight != before {
            self.set_weight(id, rip, weight);
        }
        Ok(())
    }

    /// Adds a server that no configuration names, in the place of others: it is neither saved nor compared, and stays
    /// until it is [removed](ServiceTable::delete_server).
    pub fn add_stand_in(&mut self, id: ServiceId, spec: &ServerSpec) -> Result<(), Refusal> {
        self.add_server(id, spec)?;
        self.holds.stand_ins.push((id, spec.rip));
        Ok(())
    }

    /// A [stand-in](ServiceTable::add_stand_in).
    pub fn stand_in(&self, id: ServiceId, rip: Endpoint) -> Option<&Arc<Dest>> {
        let stands_in = self.holds.is_stand_in(id, rip);
        self.server(id, rip).filter(|_| stands_in)
    }

    /// What a server is that is in a service, or [out](Limit::Out) of it.
    pub fn server_spec(&self, id: ServiceId, rip: Endpoint) -> Option<ServerSpec> {
        let out = || self.holds.holds.get(&(id, rip))?.out.clone();
        let present = self.server(id, rip).map(|dest| self.spec_of(dest));
        present.or_else(out)
    }

    /// The servers of a service, those included that are [out](Limit::Out), those not that stand in for others.
    pub fn members(&self, id: ServiceId) -> Result<Vec<Member>, Refusal> {
        let service = self.service(id)?;
        let present = service
            .dests()
            .iter()
            .map(|dest| (dest.rip(), dest.weight()));
        let out = self.holds.out(id).map(|(spec, _)| (spec.rip, 0));
        let all = present.chain(out);
        let all = all.filter(|(rip, _)| !self.holds.is_stand_in(id, *rip));
        let member = |(rip, weight)| {
            let hold = self.holds.holds.get(&(id, rip));
            Member {
                rip,
                given: hold.map_or(weight, |hold| hold.given),
                weight,
                drained: hold.is_some_and(|hold| hold.drained),
                limit: hold.map_or(Limit::None, |hold| hold.limit),
            }
        };
        Ok(all.map(member).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_but_not_to_nothing() {
        for (weight, part, of, expected) in [
            (100, 0, 60, 1),
            (100, 30, 60, 50),
            (100, 59, 60, 98),
            (100, 60, 60, 100),
            (100, 61, 60, 100),
            (1, 1, 60, 1),
            (0, 30, 60, 0),
            (65_535, u32::MAX, u32::MAX, 65_535),
            (7, 1, 0, 7),
        ] {
            let share = Limit::Share { part, of };
            assert_eq!(share.of(weight), expected, "{part}/{of} of {weight}");
        }
    }
}
