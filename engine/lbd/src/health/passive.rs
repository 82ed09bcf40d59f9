//! From what clients' packets showed of servers to what those keep of their weights.

use lb::{Limit, ServiceId};
use lb_checks::{Change, Passive, State, Witnessed};

use super::supervisor::Supervisor;

impl Supervisor<'_> {
    /// The first window of a service begins, if it is to have any and has none.
    pub(super) fn begin_window(&mut self, id: ServiceId) {
        let now = self.watcher.now();
        let Some(service) = self.services.get_mut(&id) else {
            return;
        };
        let Some(passive) = service.health.passive.clone() else {
            service.window_ends = None;
            return;
        };
        let end = now + passive.window;
        match service.window_ends {
            None => {
                service.window_ends = Some(end);
                // Nothing is judged yet: what they have shown before does not count.
                self.witness(id, &passive);
            }
            // A reload may have made it shorter.
            Some(before) => service.window_ends = Some(before.min(end)),
        }
    }

    /// Judges the servers of services whose windows are over; the services, which are to be settled.
    pub(super) fn judge_windows(&mut self) -> Vec<ServiceId> {
        let now = self.watcher.now();
        let mut judged = Vec::new();
        for (id, service) in &mut self.services {
            let is_over = service.window_ends.is_some_and(|end| end <= now);
            if let Some(passive) = service.health.passive.clone().filter(|_| is_over) {
                service.window_ends = Some(now + passive.window);
                judged.push((*id, passive));
            }
        }
        for (id, passive) in &judged {
            self.witness(*id, passive);
        }
        judged.into_iter().map(|(id, _)| id).collect()
    }

    fn witness(&mut self, id: ServiceId, passive: &Passive) {
        let Some(service) = self.services.get_mut(&id) else {
            return;
        };
        let witnessed: Vec<Witnessed> = self.engine.look(|table| {
            let members = table.members(id).unwrap_or_default();
            let serves = |rip| {
                let server = service.servers.get(&rip);
                server.is_some_and(|server| server.state == State::Up)
            };
            let members = members
                .into_iter()
                .filter(|member| serves(member.rip) && !member.drained && member.given > 0);
            let witnessed = members.filter_map(|member| {
                Some(Witnessed {
                    server: member.rip,
                    weight: member.given,
                    conduct: table.conduct_of_server(id, member.rip)?,
                })
            });
            witnessed.collect()
        });
        let before: Vec<u32> = witnessed
            .iter()
            .map(|one| service.suspicion.share(one.server).unwrap_or(100))
            .collect();
        let changes = service.suspicion.judge(passive, &witnessed);
        let mut book = self.shared.book.lock();
        for one in &witnessed {
            if let Some(entry) = book.servers.get_mut(&(id, one.server)) {
                entry.conduct = Some(one.conduct);
            }
        }
        drop(book);
        for change in changes {
            let (Change::Lowered(rip, ..) | Change::Spared(rip, _) | Change::Restored(rip)) =
                &change;
            let at = witnessed.iter().position(|one| one.server == *rip);
            if let Some(at) = at {
                self.say(id, passive, &change, witnessed[at].weight, before[at]);
            }
        }
    }

    /// `given` is the weight that the server was given, of which it had `before` percent.
    fn say(&mut self, id: ServiceId, passive: &Passive, change: &Change, given: u32, before: u32) {
        let weight = |percent| match percent {
            100 => given,
            part => Limit::Share { part, of: 100 }.of(given),
        };
        let (rip, state, reason) = match change {
            Change::Lowered(rip, percent, evidence) => {
                let (from, to) = (weight(before), weight(*percent));
                let reason = format!("{evidence}; weight {from} -> {to}");
                tracing::warn!("{id}: server {rip} is suspect: {reason}");
                (rip, "SUSPECT", reason)
            }
            Change::Restored(rip) => {
                let reason = format!("weight {} -> {given}", weight(before));
                tracing::info!("{id}: server {rip} is suspect no more: {reason}");
                (rip, "TRUSTED", reason)
            }
            Change::Spared(rip, evidence) => {
                let most = passive.most_taken;
                tracing::warn!(
                    "{id}: server {rip} keeps its weight, for no more than {most} percent of the service's may be \
                     taken: {evidence}"
                );
                return;
            }
        };
        let name = id.to_string();
        self.tell(id, ["SERVER", &rip.to_string(), state, &name, &reason]);
    }
}
