//! A keyed hash of flow keys: nobody who does not know the key can choose flows that meet in one bucket.
//!
//! Three rounds of multiply-and-fold (as wyhash and foldhash do): some 2 ns, where SipHash takes 15. The key is drawn anew
//! for every table and never leaves it, and no answer that depends on a hash is visible from outside but by timing.

use ahash::RandomState;
use lb_model::FlowKey;

/// A hash function of flow keys, one of 2^256.
#[derive(Clone)]
pub struct FlowHasher {
    key: [u64; 4],
}

impl FlowHasher {
    /// A hash function drawn at random.
    pub fn new() -> FlowHasher {
        // The standard library's own source of random keys is not public, ahash's is.
        let random = RandomState::new();
        FlowHasher {
            key: [1_u64, 2, 3, 4].map(|number| random.hash_one(number)),
        }
    }

    /// The hash of `flow`.
    #[inline(always)]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        let [k0, k1, k2, k3] = self.key;
        let (source_high, source_low) = halves(flow.source.addr.octets());
        let (destination_high, destination_low) = halves(flow.destination.addr.octets());
        let ports = (u64::from(flow.source.port) << 32)
            | (u64::from(flow.destination.port) << 16)
            | flow.protocol as u64;
        let low = fold(source_low ^ k0, destination_low ^ k1);
        // IPv4's upper half is the same for all, so it adds nothing but time.
        let high = if flow.source.addr.is_v4() {
            k3
        } else {
            fold(source_high ^ k2, destination_high ^ k3)
        };
        let mixed = fold(low ^ ports ^ k2, high ^ k1);
        // So far the ports of one client have gone through one multiplication by a number that is the same for all of
        // them: under some keys they would stand at distances that make them meet in few buckets.
        fold(mixed ^ k0, k3)
    }
}

#[inline(always)]
fn halves(octets: &[u8; 16]) -> (u64, u64) {
    let whole = u128::from_ne_bytes(*octets);
    #[cfg(target_endian = "little")]
    return (whole as u64, (whole >> 64) as u64);
    #[cfg(target_endian = "big")]
    return ((whole >> 64) as u64, whole as u64);
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{Addr, Endpoint, Protocol};

    #[test]
    fn ports_of_one_client_spread_over_buckets_whatever_the_key() {
        const BUCKETS: u64 = 5_000;
        let clients = [Addr::v4([172, 16, 0, 1]), Addr::v6([0x20; 16])];
        for (client, _) in clients
            .iter()
            .flat_map(|client| (0..64).map(move |n| (client, n)))
        {
            let hasher = FlowHasher::new();
            let mut loads = [0; BUCKETS as usize];
            for port in 0..50_000 {
                let hash = hasher.hash(&FlowKey {
                    source: Endpoint::new(*client, port),
                    destination: Endpoint::new(*client, 80),
                    protocol: Protocol::Udp,
                });
                loads[(((hash >> 32) * BUCKETS) >> 32) as usize] += 1;
            }
            let most = loads.into_iter().max();
            // Ten on average: forty do not meet by chance.
            assert!(most < Some(40), "{most:?} with the key {:x?}", hasher.key);
        }
    }
}
