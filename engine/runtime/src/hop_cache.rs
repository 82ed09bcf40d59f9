//! The next hops that a worker used last: one address in place of a route lookup and a neighbour lookup.

use lb_model::{Addr, Hop, NextHops, Resolution};

/// Servers are few; of clients, those that are active at a time.
const SLOTS: usize = 1024;

/// Answers of [`NextHops::resolve`], each in the one slot where its address may stand.
pub struct HopCache {
    slots: Box<[Option<(Addr, Hop)>]>,
}

impl HopCache {
    pub fn new() -> HopCache {
        HopCache {
            slots: vec![None; SLOTS].into_boxed_slice(),
        }
    }

    /// Forgets everything: the next hops are others now.
    pub fn clear(&mut self) {
        self.slots.fill(None);
    }

    /// The way to `addr`, as `next_hops` has it.
    #[inline]
    pub fn resolve(&mut self, addr: Addr, next_hops: &NextHops) -> Resolution {
        let slot = &mut self.slots[place(addr)];
        if let Some((known, hop)) = slot
            && *known == addr
        {
            return Resolution::Reachable(*hop);
        }
        let resolution = next_hops.resolve(addr);
        if let Resolution::Reachable(hop) = resolution {
            *slot = Some((addr, hop));
        }
        resolution
    }
}

/// Hosts of a network differ in their last bits, and networks in those before.
#[inline]
fn place(addr: Addr) -> usize {
    let bits = u128::from_be_bytes(*addr.octets());
    let folded = bits ^ (bits >> 16) ^ (bits >> 64);
    folded as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{Interface, InterfaceId, Mac, Prefix};

    #[test]
    fn it_answers_as_the_next_hops_do_until_it_is_told_of_others() {
        let interface = Interface {
            name: "a".into(),
            mac: Mac::default(),
            mtu: 1500,
            addresses: Vec::new(),
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
        let mut cache = HopCache::new();
        for _ in 0..2 {
            for addr in &addresses {
                assert_eq!(cache.resolve(*addr, &hops), hops.resolve(*addr));
            }
        }
        let gone = NextHops::default();
        cache.clear();
        assert_eq!(cache.resolve(addresses[1], &gone), Resolution::Unreachable);
    }
}
