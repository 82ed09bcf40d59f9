//! All pools of a worker, by what they are for. Where a pool is, it stays, and its index has room for all: no packet waits
//! for them to be moved.

use std::ops::{Index, IndexMut};

use ahash::RandomState;
use lb_model::{Addr, Time};

use super::pool::{Pool, PoolKey};
use crate::index::{self, Hash};
use crate::pages::Pages;

/// Local addresses times server endpoints.
pub const MAX_POOLS: u32 = 1 << 16;

/// When there are so many, a new one takes the place of one that is quiet, if there is one among so many of them.
const LOOKS: u32 = 64;

/// Pools that are remembered beside the index, which takes ten times as long: more than most balancers have.
const RECENT: usize = 1024;

/// At most [`MAX_POOLS`].
pub struct Pools {
    pools: Pages<Pool>,
    index: index::Index,
    hasher: RandomState,
    /// Where pools were that were asked for lately, each where what is [told at once](place_of) of its key leads.
    recent: Box<[u32; RECENT]>,
    /// Where the next look for a quiet one begins.
    hand: u32,
}

impl Pools {
    /// None yet.
    pub fn new() -> Pools {
        Pools {
            pools: Pages::new(),
            index: index::Index::new(MAX_POOLS.into()),
            hasher: RandomState::new(),
            recent: Box::new([0; RECENT]),
            hand: 0,
        }
    }

    /// Where the pool for this is.
    #[inline]
    pub fn find(&mut self, key: &PoolKey) -> Option<u32> {
        let recent = self.recent[place_of(key)];
        match self.pools.get(recent) {
            Some(pool) if pool.key() == key => Some(recent),
            _ => self.find_another(key),
        }
    }

    #[inline(never)]
    fn find_another(&mut self, key: &PoolKey) -> Option<u32> {
        let is_it = |at: u32| self.pools[at].key() == key;
        let found = self.index.find(self.hash(key), is_it);
        if let Some(at) = found {
            self.recent[place_of(key)] = at;
        }
        found
    }

    /// A place for one more, if there is any.
    #[cold]
    pub fn make_room(&mut self, now: Time) -> Option<u32> {
        match self.pools.len() as u32 {
            MAX_POOLS => self.forget_quiet(now),
            next => Some(next),
        }
    }

    /// Puts a pool that is not there yet into the place that was made for it; `None` if it could not be found there.
    #[cold]
    pub fn put(&mut self, at: u32, pool: Pool) -> Option<()> {
        let entered = self.index.insert(self.hash(pool.key()), at);
        if at == self.pools.len() as u32 {
            self.pools.push(pool);
        } else {
            self.pools[at] = pool;
        }
        entered.then_some(())
    }

    /// Lets a quiet pool be found no more; where it is.
    fn forget_quiet(&mut self, now: Time) -> Option<u32> {
        for _ in 0..LOOKS {
            let at = self.hand;
            self.hand = (at + 1) % MAX_POOLS;
            if self.pools[at].is_quiet(now) {
                let hash = self.hash(self.pools[at].key());
                self.index.remove(hash, at);
                return Some(at);
            }
        }
        None
    }

    fn hash(&self, key: &PoolKey) -> Hash {
        self.index.hash(self.hasher.hash_one(key))
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        (0..self.pools.len() as u32).map(|at| &self.pools[at])
    }
}

/// Addresses of one network differ in their last bytes. Who makes places meet, by ports that he asks for, makes others wait for
/// the index, and no longer.
#[inline(always)]
fn place_of(key: &PoolKey) -> usize {
    let last = |addr: Addr| u64::from(u32::from_ne_bytes(addr.last_octets()));
    let ends = last(key.local) << 32 | last(key.server.addr);
    let told = ends ^ u64::from(key.server.port) << 16 ^ key.protocol as u64;
    // Knuth, TAOCP 3, section 6.4.
    (told.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - RECENT.ilog2())) as usize
}

impl Index<u32> for Pools {
    type Output = Pool;

    fn index(&self, at: u32) -> &Pool {
        &self.pools[at]
    }
}

impl IndexMut<u32> for Pools {
    fn index_mut(&mut self, at: u32) -> &mut Pool {
        &mut self.pools[at]
    }
}
