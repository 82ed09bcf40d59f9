//! Destination hashing (kernel `net/netfilter/ipvs/ip_vs_dh.c`).
//!
//! ```text
//! buckets: 256, given to the dests in turn, one each
//! hash := the upper 8 bits of (VIP, an IPv6 one folded to 32 bits) * 0x61c88647
//! dest := buckets[hash]
//! return dest if weight(dest) > 0 and it is not overloaded, none otherwise
//! ```
//!
//! Apart from 0, weights do not count.

use lb_model::{Dests, Request, Scheduler};

use crate::hash::{fold, hash_32};

/// 256 buckets.
const BUCKET_BITS: u32 = 8;

/// The `dh` scheduler.
#[derive(Clone, Default)]
pub struct DestinationHash;

impl Scheduler for DestinationHash {
    fn schedule(&mut self, request: &Request<'_>, dests: &Dests) -> Option<usize> {
        let vip = fold(&request.flow.destination.addr);
        let at = hash_32(vip, BUCKET_BITS).checked_rem(dests.len())?;
        dests[at].takes_conns().then_some(at)
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Service;

    #[test]
    fn a_destination_stays_with_its_server_whoever_asks() {
        let mut service = Service::of("dh", &[1, 1, 1]);
        let first = service.choice_for("192.0.2.1:1", "10.0.0.1:80");
        assert!(first.is_some());
        assert_eq!(service.choice_for("192.0.2.9:9", "10.0.0.1:443"), first);
        service.dests[first.expect("a server")].set_weight(0);
        assert_eq!(service.choice_for("192.0.2.1:1", "10.0.0.1:80"), None);
        assert_eq!(Service::of("dh", &[]).choice(), None);
    }
}
