//! Local ports: what tells one conn from another where the server does not see the client (FNAT, ENAT).
//!
//! There is a pool of ports for each local address and server endpoint, made when it is first needed: the same LIP:lport
//! serves towards different servers at once. A pool hands out the port that has been free for longest: those never used in
//! order, then those given back, oldest first. So a server that still remembers a connection (TIME_WAIT) meets its
//! port again as late as can be.
//!
//! A lease and a return take constant time, however full a pool is. A pool takes two bytes for each port given back, which is
//! 126 KiB at most, and nothing once it has been quiet for [`QUIET`]; there are at most [`MAX_POOLS`].

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{Addr, Endpoint, Protocol, Time};

use crate::{LocalUse, LocalUses};

/// No server remembers a connection for longer: twice the 60 seconds of Linux, the 2 MSL of RFC 9293 section 3.4.2 with
/// the usual MSL of a minute.
const QUIET: Duration = Duration::from_secs(120);

/// Local addresses times server endpoints; of this many pools, only those in use matter.
const MAX_POOLS: usize = 1 << 16;

/// How often it is worth looking for quiet pools when there are as many as may be.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The local ports of one worker, towards all servers.
pub struct LocalPorts {
    first: u16,
    count: u32,
    /// Where in the range pools begin: the same place for 0, otherwise one that differs from pool to pool.
    seed: u64,
    pools: HashMap<PoolKey, Pool, RandomState>,
    uses: Arc<LocalUses>,
    next_sweep: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct PoolKey {
    local: Addr,
    server: Endpoint,
    protocol: Protocol,
}

struct Pool {
    /// Where in the range it began.
    start: u32,
    /// How many ports, from there on, were ever leased.
    used: u32,
    /// Those given back, the oldest in front.
    free: VecDeque<u16>,
    leased: u32,
    /// When the last one was given back.
    quiet_since: Time,
    uses: Arc<LocalUse>,
}

impl LocalPorts {
    /// Ports in `range`, of which no other worker uses any.
    ///
    /// With a `seed` other than 0 every pool begins elsewhere, so that a balancer that was started again does not begin with
    /// the ports that servers remember.
    pub fn new(range: RangeInclusive<u16>, seed: u64) -> LocalPorts {
        LocalPorts {
            first: *range.start(),
            count: range.len() as u32,
            seed,
            pools: HashMap::default(),
            uses: Arc::default(),
            next_sweep: Time::ZERO,
        }
    }

    /// These, counted with those of other workers.
    #[must_use]
    pub fn counted_in(mut self, uses: Arc<LocalUses>) -> LocalPorts {
        self.uses = uses;
        self
    }

    /// How many ports there are for each local address and server.
    pub fn per_address(&self) -> u32 {
        self.count
    }

    /// A port of one of `locals` towards `server`: of the one whose turn it is, or else of the next that has any left.
    pub fn lease(
        &mut self,
        locals: &[Addr],
        turn: u32,
        server: Endpoint,
        protocol: Protocol,
        now: Time,
    ) -> Option<Endpoint> {
        let start = turn as usize % locals.len().max(1);
        let (later, first) = locals.split_at(start);
        first.iter().chain(later).find_map(|local| {
            let key = PoolKey {
                local: *local,
                server,
                protocol,
            };
            let count = self.count;
            let port = self.pool(key, now)?.take(count, now)?;
            Some(Endpoint::new(*local, self.first + port))
        })
    }

    /// Takes back what was leased towards `server`.
    pub fn give_back(&mut self, local: Endpoint, server: Endpoint, protocol: Protocol, now: Time) {
        let key = PoolKey {
            local: local.addr,
            server,
            protocol,
        };
        let pool = self.pools.get_mut(&key);
        debug_assert!(pool.is_some(), "a pool with leases is kept");
        if let Some(pool) = pool {
            pool.free.push_back(local.port - self.first);
            pool.leased -= 1;
            pool.uses.give_back();
            pool.quiet_since = now;
        }
    }

    fn pool(&mut self, key: PoolKey, now: Time) -> Option<&mut Pool> {
        if self.pools.len() >= MAX_POOLS && !self.pools.contains_key(&key) {
            self.sweep(now);
            if self.pools.len() >= MAX_POOLS {
                return None;
            }
        }
        let start = || match self.seed {
            0 => 0,
            seed => {
                let place = RandomState::with_seeds(seed, 0, 0, 0).hash_one(key);
                (place % u64::from(self.count.max(1))) as u32
            }
        };
        let new = || Pool::new(start(), self.uses.of(key.local));
        Some(self.pools.entry(key).or_insert_with(new))
    }

    fn sweep(&mut self, now: Time) {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.pools.retain(|_, pool| !pool.is_quiet(now));
        }
    }
}

impl Pool {
    fn new(start: u32, uses: Arc<LocalUse>) -> Pool {
        Pool {
            start,
            used: 0,
            free: VecDeque::new(),
            leased: 0,
            quiet_since: Time::ZERO,
            uses,
        }
    }

    /// The port that has been free for longest, counted from the first of `count`.
    fn take(&mut self, count: u32, now: Time) -> Option<u16> {
        if self.used > 0 && self.is_quiet(now) {
            // Nobody remembers any of them: go on from here, and give the memory back.
            let start = (self.start + self.used) % count;
            *self = Pool::new(start, Arc::clone(&self.uses));
        }
        let port = if self.used < count {
            self.used += 1;
            // Both are below 65536.
            ((self.start + self.used - 1) % count) as u16
        } else if let Some(port) = self.free.pop_front() {
            port
        } else {
            self.uses.exhaust();
            return None;
        };
        self.leased += 1;
        self.uses.lease();
        Some(port)
    }

    fn is_quiet(&self, now: Time) -> bool {
        self.leased == 0 && now.since(self.quiet_since) >= QUIET
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, VecDeque};

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
        ports.lease(locals, turn, server(80), Protocol::Tcp, now)
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
        assert_eq!((used.leased(), used.exhausted()), (4, 1));
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
        let mut to = |server, protocol| ports.lease(&[lip(1)], 0, server, protocol, at(0));
        let first = to(server(80), Protocol::Tcp);
        assert_eq!(first, Some(Endpoint::new(lip(1), 1024)));
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
        let pool = ports.pools.values().next().expect("one");
        assert_eq!((pool.free.len(), pool.used), (0, 1));
    }

    #[test]
    fn there_are_so_many_pools_and_quiet_ones_make_room() {
        let mut ports = LocalPorts::new(1024..=1024, 0);
        let mut to = |addr: u32, now| {
            let server = Endpoint::new(std::net::Ipv4Addr::from(addr).into(), 80);
            let local = ports.lease(&[lip(1)], 0, server, Protocol::Tcp, now)?;
            ports.give_back(local, server, Protocol::Tcp, now);
            Some(local)
        };
        assert!((0..MAX_POOLS as u32).all(|addr| to(addr, at(0)).is_some()));
        assert_eq!(to(MAX_POOLS as u32, at(1)), None);
        assert!(to(0, at(1)).is_some(), "pools that are there serve on");
        assert!(to(MAX_POOLS as u32, at(121)).is_some());
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
