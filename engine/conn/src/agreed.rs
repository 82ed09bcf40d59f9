//! Where the templates of all workers lead: a client's conns come in on several queues, and go to one server.
//!
//! Each worker keeps templates of its own, with their conns and time-outs, and comes here only to open or end one. So
//! a lock is taken for the first conn of a client that a worker meets, and never for a packet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::Dest;

use crate::TemplateKey;

/// Locks: so many that workers seldom meet at one, and that what a map holds is soon moved when it grows.
const SHARDS: usize = 1024;

/// What all workers' templates with one key lead to: as a rule one server, for as many templates.
type Servers = Vec<(Arc<Dest>, u32)>;

/// Which server each client's templates lead to.
pub struct AgreedServers {
    shards: [Mutex<HashMap<TemplateKey, Servers, RandomState>>; SHARDS],
    hasher: RandomState,
}

impl AgreedServers {
    /// None yet.
    pub fn new() -> AgreedServers {
        AgreedServers {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// The server that other workers' templates lead to, if it is one that `usable` takes.
    pub fn find(&self, key: &TemplateKey, usable: impl Fn(&Dest) -> bool) -> Option<Arc<Dest>> {
        let shard = self.shard(key);
        let (dest, _) = shard.get(key)?.last()?;
        usable(dest).then(|| Arc::clone(dest))
    }

    /// A worker opens a template: it leads to the server that others agree on, if it is one that `usable` takes, and to
    /// `dest` otherwise.
    pub fn enter(
        &self,
        key: &TemplateKey,
        dest: &Arc<Dest>,
        usable: impl Fn(&Dest) -> bool,
    ) -> Arc<Dest> {
        let mut shard = self.shard(key);
        let servers = shard.entry(*key).or_default();
        if let Some((agreed, templates)) = servers.last_mut()
            && (usable(agreed) || Arc::ptr_eq(agreed, dest))
        {
            *templates += 1;
            return Arc::clone(agreed);
        }
        // ipvsadm's PersistConn counts clients and not workers.
        dest.template_opened();
        servers.push((Arc::clone(dest), 1));
        Arc::clone(dest)
    }

    /// A worker's template that led to `dest` ended.
    pub fn leave(&self, key: &TemplateKey, dest: &Arc<Dest>) {
        let mut shard = self.shard(key);
        let Some(servers) = shard.get_mut(key) else {
            return;
        };
        // There may be one from before it was not usable, and one from after.
        if let Some(at) = servers
            .iter()
            .position(|(other, _)| Arc::ptr_eq(other, dest))
        {
            servers[at].1 -= 1;
            if servers[at].1 == 0 {
                servers.remove(at);
                dest.template_ended();
            }
        }
        if servers.is_empty() {
            shard.remove(key);
        }
    }

    fn shard(
        &self,
        key: &TemplateKey,
    ) -> MutexGuard<'_, HashMap<TemplateKey, Servers, RandomState>> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        // Whoever panicked while he held it cannot have left it half changed.
        (self.shards[at].lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for AgreedServers {
    fn default() -> AgreedServers {
        AgreedServers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Asked;
    use lb_model::Addr;

    const KEY: TemplateKey = TemplateKey {
        client: Addr::UNSPECIFIED_V4,
        asked: Asked::Mark(7),
    };

    fn dests() -> [Arc<Dest>; 2] {
        ["10.1.0.11:80", "10.1.0.12:80"]
            .map(|rip| Arc::new(Dest::new(rip.parse().expect("valid"), 1)))
    }

    #[test]
    fn all_templates_lead_to_the_first_ones_server_until_the_last_is_gone() {
        let agreed = AgreedServers::new();
        let [first, second] = dests();
        let usable = |dest: &Dest| dest.weight() > 0;
        assert!(agreed.find(&KEY, usable).is_none());
        for dest in [&first, &second, &second] {
            assert!(Arc::ptr_eq(&agreed.enter(&KEY, dest, usable), &first));
        }
        assert_eq!((first.persistent(), second.persistent()), (1, 0));
        (0..2).for_each(|_| agreed.leave(&KEY, &first));
        assert!(agreed.find(&KEY, usable).is_some());
        agreed.leave(&KEY, &first);
        assert!(agreed.find(&KEY, usable).is_none());
        assert_eq!(first.persistent(), 0);
        assert!(Arc::ptr_eq(&agreed.enter(&KEY, &second, usable), &second));
    }

    #[test]
    fn a_server_that_is_of_no_use_is_replaced_for_all_and_remembered_by_the_old_templates() {
        let agreed = AgreedServers::new();
        let [first, second] = dests();
        let usable = |dest: &Dest| dest.weight() > 0;
        agreed.enter(&KEY, &first, usable);
        first.set_weight(0);
        assert!(agreed.find(&KEY, usable).is_none());
        for _ in 0..2 {
            assert!(Arc::ptr_eq(&agreed.enter(&KEY, &second, usable), &second));
        }
        assert_eq!((first.persistent(), second.persistent()), (1, 1));
        agreed.leave(&KEY, &first);
        assert_eq!((first.persistent(), second.persistent()), (0, 1));
        assert!(agreed.find(&KEY, usable).is_some());
    }

    #[test]
    fn workers_that_ask_at_once_agree() {
        let agreed = AgreedServers::new();
        let dests = dests();
        for _ in 0..200 {
            let entered: Vec<Arc<Dest>> = std::thread::scope(|scope| {
                let agreed = &agreed;
                let enter = |dest| scope.spawn(move || agreed.enter(&KEY, dest, |_| true));
                let threads: Vec<_> = dests.iter().map(enter).collect();
                let joined = threads.into_iter().map(|thread| thread.join());
                joined.map(|dest| dest.expect("no panic")).collect()
            });
            assert!(Arc::ptr_eq(&entered[0], &entered[1]));
            entered.iter().for_each(|dest| agreed.leave(&KEY, dest));
        }
        assert!(dests.iter().all(|dest| dest.persistent() == 0));
    }
}
