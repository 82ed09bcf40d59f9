//! Local ports: what tells one conn from another where the server does not see the client (FNAT, ENAT).
//!
//! There is a pool of ports for each local address and server endpoint, made when it is first needed: the same LIP:lport
//! serves towards different servers at once. A pool hands out the port that has been free for longest: those never used in
//! order, then those given back, oldest first. So a server that still remembers a connection (TIME_WAIT) meets its
//! port again as late as can be.
//!
//! Workers divide a local address's ports among themselves. Where the NIC tells how it chooses a packet's queue, each has those
//! ports towards a server on which that server's replies come in on its own queue; a pool passes over the others. Where it does not, each has a
//! part of the range, and replies are handed over.
//!
//! A lease and a return take constant time, however full a pool is: a port is looked at, or there is none. Where ports are told
//! by queue, a pool passes over each port of others once, as many in a row as workers on average.

mod pool;
mod pools;

use std::ops::RangeInclusive;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{Addr, Endpoint, HashedFields, Protocol, Rss, Time};

use crate::LocalUses;
use crate::local_use::OwnUse;

use pool::{Pool, PoolKey};
use pools::Pools;

/// The local ports of one worker, towards all servers.
pub struct LocalPorts {
    /// All workers', if the worker's own are told by queue.
    whole: Range,
    /// The worker's own, if they are not.
    share: Range,
    by_queue: Option<Arc<ByQueue>>,
    /// Where in the range pools begin: the same place for 0, otherwise one that differs from pool to pool.
    seed: u64,
    pools: Pools,
    uses: Arc<LocalUses>,
    /// Where this worker counts, by local addresses.
    own_uses: HashMap<Addr, Arc<OwnUse>, RandomState>,
}

/// Ports in a row.
#[derive(Clone, Copy)]
struct Range {
    first: u16,
    count: u32,
}

impl Range {
    /// What worker `number` of `workers` has of it: neighbouring ports, the shares as even as can be.
    fn share(self, number: u16, workers: u16) -> Range {
        let (number, workers) = (u32::from(number), u32::from(workers.max(1)));
        let begin = |number: u32| self.count * number / workers;
        Range {
            // Below 65536, as all of the range.
            first: self.first + begin(number) as u16,
            count: begin(number + 1) - begin(number),
        }
    }
}

/// Which ports are whose by the queue on which replies to them come in.
struct ByQueue {
    rss: Arc<Rss>,
    number: u16,
    workers: u16,
}

impl ByQueue {
    /// `None` if that would leave somebody without ports.
    fn new(rss: Arc<Rss>, number: u16, workers: u16) -> Option<ByQueue> {
        let serves = |number| rss.queues().iter().any(|queue| queue % workers == number);
        let all_have_some = workers > 1 && (0..workers).all(serves);
        all_have_some.then_some(ByQueue {
            rss,
            number,
            workers,
        })
    }

    /// Of the replies that pools with this key wait for: their hash, but for what the port adds. `None` if the port adds
    /// nothing.
    fn hash(&self, key: &PoolKey) -> Option<u32> {
        let fields = self.rss.fields(key.protocol, key.local.is_v4());
        let hash = || self.rss.hash_to_any_port(key.server, key.local);
        (fields == HashedFields::Ports).then(hash)
    }

    /// Whether replies with this hash to `local` come in on one of the worker's queues.
    #[inline]
    fn is_own(&self, hash: u32, local: Endpoint) -> bool {
        self.rss.queue_of_port(hash, local) % self.workers == self.number
    }
}

impl LocalPorts {
    /// Ports in `range`, of which no other worker uses any.
    ///
    /// With a `seed` other than 0 every pool begins elsewhere, so that a balancer that was started again does not begin with
    /// the ports that servers remember.
    pub fn new(range: RangeInclusive<u16>, seed: u64) -> LocalPorts {
        LocalPorts::of_worker(range, (0, 1), None, seed)
    }

    /// Those in `range` that worker `number` of `workers` leases and no other does, if all are told of the same `rss`.
    pub fn of_worker(
        range: RangeInclusive<u16>,
        (number, workers): (u16, u16),
        rss: Option<Arc<Rss>>,
        seed: u64,
    ) -> LocalPorts {
        let whole = Range {
            first: *range.start(),
            count: range.len() as u32,
        };
        let by_queue = rss.and_then(|rss| ByQueue::new(rss, number, workers));
        LocalPorts {
            whole,
            share: whole.share(number, workers),
            by_queue: by_queue.map(Arc::new),
            seed,
            pools: Pools::new(),
            uses: Arc::default(),
            own_uses: HashMap::default(),
        }
    }

    /// These, counted with those of other workers.
    #[must_use]
    pub fn counted_in(mut self, uses: Arc<LocalUses>) -> LocalPorts {
        self.uses = uses;
        self
    }

    /// One of `locals` and a port of it towards `server`: of the one whose turn it is, or else of the next that has any left.
    #[inline]
    pub fn lease<'l>(
        &mut self,
        locals: &'l [Addr],
        turn: u32,
        server: &Endpoint,
        protocol: Protocol,
        now: Time,
    ) -> Option<(&'l Addr, u16)> {
        let start = match locals {
            [_] => 0,
            _ => turn as usize % locals.len().max(1),
        };
        let towards = (server, protocol);
        let leased = self.lease_of(locals.get(start)?, towards, now);
        // Nearly always the one whose turn it is has some.
        leased.or_else(|| self.lease_of_next(locals, start, towards, now))
    }

    #[cold]
    fn lease_of_next<'l>(
        &mut self,
        locals: &'l [Addr],
        start: usize,
        towards: (&Endpoint, Protocol),
        now: Time,
    ) -> Option<(&'l Addr, u16)> {
        let (before, from) = locals.split_at(start);
        let mut others = from[1..].iter().chain(before);
        others.find_map(|local| self.lease_of(local, towards, now))
    }

    #[inline(always)]
    fn lease_of<'l>(
        &mut self,
        local: &'l Addr,
        (server, protocol): (&Endpoint, Protocol),
        now: Time,
    ) -> Option<(&'l Addr, u16)> {
        let key = PoolKey {
            local: *local,
            server: Endpoint::new(server.addr, server.port),
            protocol,
        };
        let port = self.pool(&key, now)?.take(now)?;
        Some((local, port))
    }

    /// Takes back what was leased towards `server`.
    pub fn give_back(&mut self, local: Endpoint, server: Endpoint, protocol: Protocol, now: Time) {
        let key = PoolKey {
            local: local.addr,
            server,
            protocol,
        };
        let pool = self.pools.find(&key);
        debug_assert!(pool.is_some(), "a pool with leases is kept");
        if let Some(pool) = pool {
            self.pools[pool].give_back(local.port, now);
        }
    }

    #[inline]
    fn pool(&mut self, key: &PoolKey, now: Time) -> Option<&mut Pool> {
        let at = match self.pools.find(key) {
            Some(at) => at,
            None => self.add_pool(*key, now)?,
        };
        Some(&mut self.pools[at])
    }

    #[cold]
    fn add_pool(&mut self, key: PoolKey, now: Time) -> Option<u32> {
        let at = self.pools.make_room(now)?;
        let pool = self.new_pool(key);
        self.pools.put(at, pool)?;
        Some(at)
    }

    fn new_pool(&mut self, key: PoolKey) -> Pool {
        let own = self
            .by_queue
            .as_ref()
            .and_then(|by_queue| Some((by_queue.hash(&key)?, Arc::clone(by_queue))));
        let range = match own {
            Some(_) => self.whole,
            None => self.share,
        };
        let start = match self.seed {
            0 => 0,
            seed => {
                let place = RandomState::with_seeds(seed, 0, 0, 0).hash_one(key);
                (place % u64::from(range.count.max(1))) as u32
            }
        };
        let join = || self.uses.join(key.local);
        let uses = Arc::clone(self.own_uses.entry(key.local).or_insert_with(join));
        Pool::new(key, range, own, start, uses)
    }
}

#[cfg(test)]
mod tests {
    use super::pools::MAX_POOLS;
    use super::*;
    use std::collections::{BTreeSet, VecDeque};
    use std::slice;
    use std::time::Duration;

    use proptest::prelude::*;

    fn server(port: u16) -> Endpoint {
        Endpoint::new(Addr::v4([10, 1, 0, 11]), port)
    }

    fn lip(last: u8) -> Addr {
        Addr::v4([10, 1, 0, last])
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn lease(ports: &mut LocalPorts, locals: &[Addr], turn: u32, now: Time) -> Option<Endpoint> {
        let (addr, port) = ports.lease(locals, turn, &server(80), Protocol::Tcp, now)?;
        Some(Endpoint::new(*addr, port))
    }

    #[test]
    fn the_port_that_was_free_for_longest_comes_next() {
        let mut ports = LocalPorts::new(1024..=1027, 0);
        let locals = [lip(1)];
        let leased = [1024, 1025, 1026].map(|port| Some(Endpoint::new(lip(1), port)));
        for expected in leased {
            assert_eq!(lease(&mut ports, &locals, 0, at(0)), expected);
        }
        for given_back in [leased[1], leased[0]] {
            let given_back = given_back.expect("leased");
            ports.give_back(given_back, server(80), Protocol::Tcp, at(1));
        }
        let next: Vec<Option<u16>> = (0..4)
            .map(|_| lease(&mut ports, &locals, 0, at(1)).map(|local| local.port))
            .collect();
        assert_eq!(next, [Some(1027), Some(1025), Some(1024), None]);
        let used = ports.uses.of(lip(1));
        assert_eq!((used.leased, used.exhausted), (4, 1));
    }

    #[test]
    fn addresses_take_turns_and_stand_in_for_one_another() {
        let mut ports = LocalPorts::new(1024..=1025, 0);
        let locals = [lip(1), lip(2), lip(3)];
        let addrs: Vec<Option<Addr>> = [0, 1, 2, 3, 0, 0, u32::MAX]
            .iter()
            .map(|turn| lease(&mut ports, &locals, *turn, at(0)).map(|local| local.addr))
            .collect();
        let expected = [lip(1), lip(2), lip(3), lip(1), lip(2), lip(3)].map(Some);
        assert_eq!(addrs[..6], expected);
        assert_eq!(addrs[6], None);
        assert_eq!(lease(&mut ports, &[], 0, at(0)), None);
    }

    #[test]
    fn a_port_serves_towards_different_servers_and_protocols_at_once() {
        let mut ports = LocalPorts::new(1024..=1024, 0);
        let local = lip(1);
        let mut to =
            |server, protocol| ports.lease(slice::from_ref(&local), 0, &server, protocol, at(0));
        let first = to(server(80), Protocol::Tcp);
        assert_eq!(first, Some((&local, 1024)));
        assert_eq!(to(server(81), Protocol::Tcp), first);
        assert_eq!(to(server(80), Protocol::Udp), first);
        assert_eq!(to(server(80), Protocol::Tcp), None);
    }

    #[test]
    fn a_quiet_pool_takes_no_memory_and_goes_on_where_it_was() {
        let mut ports = LocalPorts::new(1024..=1027, 0);
        let locals = [lip(1)];
        for _ in 0..2 {
            let local = lease(&mut ports, &locals, 0, at(0)).expect("free");
            ports.give_back(local, server(80), Protocol::Tcp, at(1));
        }
        let local = lease(&mut ports, &locals, 0, at(121)).expect("free");
        assert_eq!(local.port, 1026);
        let pool = ports.pools.iter().next().expect("one");
        assert_eq!((pool.given_back(), pool.used()), (0, 1));
    }

    #[test]
    fn there_are_so_many_pools_and_quiet_ones_make_room() {
        let mut ports = LocalPorts::new(1024..=1024, 0);
        let mut to = |addr: u32, now| {
            let server = Endpoint::new(std::net::Ipv4Addr::from(addr).into(), 80);
            let (_, port) = ports.lease(&[lip(1)], 0, &server, Protocol::Tcp, now)?;
            let local = Endpoint::new(lip(1), port);
            ports.give_back(local, server, Protocol::Tcp, now);
            Some(local)
        };
        assert!((0..MAX_POOLS).all(|addr| to(addr, at(0)).is_some()));
        assert_eq!(to(MAX_POOLS, at(1)), None);
        assert!(to(0, at(1)).is_some(), "pools that are there serve on");
        assert!(to(MAX_POOLS, at(121)).is_some());
    }

    #[test]
    fn pools_begin_where_the_seed_says() {
        let starts: BTreeSet<u16> = (1..50)
            .map(|seed| {
                let mut ports = LocalPorts::new(1024..=65535, seed);
                lease(&mut ports, &[lip(1)], 0, at(0)).expect("free").port
            })
            .collect();
        assert!(starts.len() > 40, "{starts:?}");
    }

    fn rss(queues: u16, fields: HashedFields) -> Arc<Rss> {
        let key: Vec<u8> = (0..40_u32).map(|n| (n * 151 + 41) as u8).collect();
        let queues = (0..128).map(|n| n % queues).collect();
        Arc::new(Rss::new(key, queues, [fields; 4]).expect("a possible NIC"))
    }

    /// Every port towards a server, by the worker that leases it.
    fn all_leases(workers: u16, rss: Option<&Arc<Rss>>) -> Vec<Vec<u16>> {
        let of = |number| {
            let range = 1024..=9215;
            let mut ports = LocalPorts::of_worker(range, (number, workers), rss.cloned(), 7);
            let next = || lease(&mut ports, &[lip(1)], 0, at(0)).map(|local| local.port);
            std::iter::from_fn(next).collect()
        };
        (0..workers).map(of).collect()
    }

    #[test]
    fn workers_lease_all_ports_and_none_that_is_another_workers() {
        let [ports, addresses] =
            [HashedFields::Ports, HashedFields::Addresses].map(|fields| rss(12, fields));
        // A NIC that leaves queues out, and one that does not tell what it hashes.
        for (workers, rss) in [
            (1, None),
            (7, None),
            (1, Some(&ports)),
            (7, Some(&ports)),
            (12, Some(&ports)),
            (13, Some(&ports)),
            (7, Some(&addresses)),
        ] {
            let mut all = all_leases(workers, rss).concat();
            all.sort_unstable();
            assert_eq!(all, (1024..=9215).collect::<Vec<u16>>(), "{workers}");
        }
    }

    #[test]
    fn replies_to_a_workers_ports_come_in_on_its_queues() {
        let rss = rss(8, HashedFields::Ports);
        for (number, ports) in (0..).zip(all_leases(4, Some(&rss))) {
            assert!((1500..2600).contains(&ports.len()), "{}", ports.len());
            for port in ports {
                let reply = lb_model::FlowKey {
                    source: server(80),
                    destination: Endpoint::new(lip(1), port),
                    protocol: Protocol::Tcp,
                };
                assert_eq!(rss.queue(&reply).map(|queue| queue % 4), Some(number));
            }
        }
    }

    /// How many ports a lease looks at, as a pool counts those that were never leased or passed over, and those given back.
    fn looks(ports: &mut LocalPorts) -> (Option<Endpoint>, u32) {
        let behind = |ports: &LocalPorts| {
            let add = |(used, free), pool: &Pool| (used + pool.used(), free + pool.given_back());
            ports.pools.iter().fold((0, 0), add)
        };
        let before = behind(ports);
        let leased = lease(ports, &[lip(1)], 0, at(0));
        let after = behind(ports);
        (leased, (after.0 - before.0) + (before.1 - after.1))
    }

    #[test]
    fn a_lease_looks_at_one_port_however_many_are_in_use() {
        const PORTS: u32 = 64_512;
        for (percent, was_used) in [
            (50, false),
            (50, true),
            (99, false),
            (99, true),
            (100, true),
        ] {
            let mut ports = LocalPorts::new(1024..=65535, 7);
            let take = |ports: &mut LocalPorts, count: u32| -> Vec<Endpoint> {
                let next = || lease(ports, &[lip(1)], 0, at(0));
                std::iter::from_fn(next).take(count as usize).collect()
            };
            if was_used {
                // All come back in an order that is not that of their numbers.
                let mut all = take(&mut ports, PORTS);
                all.sort_by_key(|local| local.port.reverse_bits());
                for local in all {
                    ports.give_back(local, server(80), Protocol::Tcp, at(0));
                }
            }
            take(&mut ports, PORTS * percent / 100);
            for _ in 0..100 {
                let (leased, looks) = looks(&mut ports);
                assert_eq!(leased.is_some(), percent < 100);
                assert!(looks <= 1, "{looks} looks with {percent} % in use");
            }
        }
    }

    #[test]
    fn a_pool_passes_over_each_port_of_other_workers_once() {
        let rss = rss(8, HashedFields::Ports);
        let mut ports = LocalPorts::of_worker(1024..=65535, (3, 8), Some(rss), 7);
        let (mut most, mut sum, mut leases) = (0, 0, 0);
        while let (Some(_), looks) = looks(&mut ports) {
            (most, sum, leases) = (most.max(looks), sum + looks, leases + 1);
        }
        assert!((7_000..9_000).contains(&leases), "{leases}");
        assert!(sum <= 64_512 && most < 512, "{sum}, at most {most} at once");
        assert_eq!(looks(&mut ports), (None, 0));
    }

    proptest! {
        /// Ports are conserved: none is leased twice, every one of the range is leased before none is left, and of those
        /// given back the oldest comes first.
        #[test]
        fn no_port_is_leased_twice_and_none_is_lost(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300),
            seed in 0u64..4,
        ) {
            const COUNT: usize = 16;
            let mut ports = LocalPorts::new(2000..=2015, seed);
            let (mut leased, mut free) = (Vec::<u16>::new(), VecDeque::<u16>::new());
            for (wants, which) in steps {
                if wants {
                    let port = lease(&mut ports, &[lip(1)], 0, at(0)).map(|local| local.port);
                    prop_assert_eq!(port.is_none(), leased.len() == COUNT);
                    let Some(port) = port else { continue };
                    prop_assert!((2000..=2015).contains(&port) && !leased.contains(&port));
                    if let Some(at) = free.iter().position(|free| *free == port) {
                        prop_assert_eq!(at, 0);
                        prop_assert_eq!(leased.len() + free.len(), COUNT, "unused ports come before used ones");
                        free.pop_front();
                    }
                    leased.push(port);
                } else if !leased.is_empty() {
                    let port = leased.swap_remove(which.index(leased.len()));
                    ports.give_back(Endpoint::new(lip(1), port), server(80), Protocol::Tcp, at(0));
                    free.push_back(port);
                }
            }
        }
    }
}
