//! The next hops that a worker used last: one address in place of a route lookup and a neighbour lookup.

use std::sync::Arc;

use crate::{Addr, Hop, NextHops, Resolution};

/// Servers are few; of clients, those that are active at a time.
const HOPS: usize = 1024;

/// Sources are asked for on the way to servers alone.
const SOURCES: usize = 64;

/// [`NextHops`], and the answers that they gave last.
pub struct HopCache {
    next_hops: Arc<NextHops>,
    hops: Slots<Hop, HOPS>,
    sources: Slots<Addr, SOURCES>,
}

impl HopCache {
    /// Knows nothing yet but what `next_hops` will answer.
    pub fn new(next_hops: Arc<NextHops>) -> HopCache {
        HopCache {
            next_hops,
            hops: Slots::new(),
            sources: Slots::new(),
        }
    }

    /// The next hops are others now.
    pub fn replace(&mut self, next_hops: Arc<NextHops>) {
        self.next_hops = next_hops;
        self.hops.clear();
        self.sources.clear();
    }

    /// The next hops that it answers for.
    pub fn next_hops(&self) -> &Arc<NextHops> {
        &self.next_hops
    }

    /// The next hop on the way to `addr`, if that can be reached now.
    #[inline(always)]
    pub fn reachable(&mut self, addr: Addr) -> Option<&Hop> {
        if self.hops.get(addr).is_none() {
            self.look_up(addr);
        }
        self.hops.get(addr)
    }

    /// The way to `addr`, as [`NextHops::resolve`] has it.
    #[inline(always)]
    pub fn resolve(&mut self, addr: Addr) -> Resolution {
        match self.hops.get(addr) {
            Some(hop) => Resolution::Reachable(*hop),
            None => self.look_up(addr),
        }
    }

    #[cold]
    fn look_up(&mut self, addr: Addr) -> Resolution {
        let resolution = self.next_hops.resolve(addr);
        if let Resolution::Reachable(hop) = resolution {
            self.hops.set(addr, hop);
        }
        resolution
    }

    /// The address that a packet of ours to `addr` comes from, as [`NextHops::source_for`] has it.
    #[inline]
    pub fn source_for(&mut self, addr: Addr) -> Option<Addr> {
        if let Some(source) = self.sources.get(addr) {
            return Some(*source);
        }
        let source = self.next_hops.source_for(addr)?;
        self.sources.set(addr, source);
        Some(source)
    }
}

/// Values by address, each in the one slot where its address may stand. `COUNT` is a power of two.
struct Slots<V, const COUNT: usize> {
    slots: Box<[Option<(Addr, V)>; COUNT]>,
}

impl<V: Copy, const COUNT: usize> Slots<V, COUNT> {
    fn new() -> Slots<V, COUNT> {
        Slots {
            slots: Box::new([None; COUNT]),
        }
    }

    fn clear(&mut self) {
        self.slots.fill(None);
    }

    #[inline(always)]
    fn get(&self, addr: Addr) -> Option<&V> {
        let (known, value) = self.slots[self.place(addr)].as_ref()?;
        (*known == addr).then_some(value)
    }

    fn set(&mut self, addr: Addr, value: V) {
        let place = self.place(addr);
        self.slots[place] = Some((addr, value));
    }

    /// Hosts of a network differ in their last bytes, and networks in those before; both end up in the bits that are taken
    /// of the product with 2^64 over the golden ratio (Knuth, TAOCP 3, section 6.4).
    #[inline(always)]
    fn place(&self, addr: Addr) -> usize {
        let bits = u128::from_le_bytes(*addr.octets());
        let folded = (bits ^ (bits >> 64)) as u64;
        (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - COUNT.ilog2())) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interface, InterfaceId, Mac, Prefix};

    #[test]
    fn it_answers_as_the_next_hops_do_until_it_is_given_others() {
        let interface = Interface {
            name: "a".into(),
            mac: Mac::default(),
            mtu: 1500,
            addresses: vec![Addr::v4([10, 0, 0, 9]), Addr::v4([10, 0, 99, 9])],
        };
        let id = InterfaceId(0);
        let mut hops = NextHops::new(vec![interface]);
        hops.set_route(Prefix::new(Addr::v4([10, 0, 0, 0]), 8), Some(id), None);
        let addresses =
            (0..3000u32).map(|n| Addr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n * 7)));
        let addresses: Vec<Addr> = addresses.collect();
        for (n, addr) in (0..).zip(&addresses).filter(|(n, _)| n % 3 > 0) {
            hops.set_neighbour(id, *addr, Mac([2, 0, 0, 0, 0, n as u8]));
        }
        let mut cache = HopCache::new(Arc::new(hops.clone()));
        for _ in 0..2 {
            for addr in &addresses {
                let hop = match hops.resolve(*addr) {
                    Resolution::Reachable(hop) => Some(hop),
                    _ => None,
                };
                assert_eq!(cache.reachable(*addr), hop.as_ref());
                assert_eq!(cache.resolve(*addr), hops.resolve(*addr));
                assert_eq!(cache.source_for(*addr), hops.source_for(*addr));
            }
        }
        cache.replace(Arc::default());
        assert_eq!(cache.resolve(addresses[1]), Resolution::Unreachable);
        assert_eq!(cache.source_for(addresses[1]), None);
    }
}
