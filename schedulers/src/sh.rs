//! Source hashing (kernel `net/netfilter/ipvs/ip_vs_sh.c`).
//!
//! ```text
//! buckets: 256, given to the dests in turn: max(weight, 1) in a row to each
//! client := (CIP, an IPv6 one folded to 32 bits) [+ cport, with sh-port]
//! hash(offset) := (the upper 8 bits of client * 0x61c88647) + offset mod 256
//! dest := buckets[hash(0)]
//! return dest if weight(dest) > 0 and it is not overloaded
//! with sh-fallback, for offset in hash(0), hash(0) + 1, ... (all 256 of them, mod 256):
//!     dest := buckets[hash(offset)]
//!     return dest if weight(dest) > 0 and it is not overloaded
//! return none
//! ```

use std::sync::Arc;

use lb_model::{Dest, Dests, Prepared, Request, Scheduler, SchedulerKind};

use crate::SchedulerOptions;
use crate::hash::{client, fall_back, hash_32};

const BUCKET_BITS: u32 = 8;
const BUCKETS: usize = 1 << BUCKET_BITS;

/// The `sh` scheduler.
pub struct SourceHash {
    fallback: bool,
    port: bool,
}

impl SourceHash {
    /// With the flags in `options`.
    pub fn new(options: &SchedulerOptions) -> SourceHash {
        SourceHash {
            fallback: options.fallback,
            port: options.port,
        }
    }
}

impl SchedulerKind for SourceHash {
    fn worker(&self) -> Box<dyn Scheduler> {
        Box::new(Lookup)
    }

    fn prepare(&self, dests: &[Arc<Dest>]) -> Option<Prepared> {
        Some(Arc::new(Table {
            servers: servers(dests)?,
            fallback: self.fallback,
            port: self.port,
        }))
    }
}

struct Table {
    /// Of each bucket.
    servers: [usize; BUCKETS],
    fallback: bool,
    port: bool,
}

/// Each bucket's server by its position; none where there are no servers.
fn servers(dests: &[Arc<Dest>]) -> Option<[usize; BUCKETS]> {
    let last = dests.len().checked_sub(1)?;
    let (mut at, mut given) = (0, 0);
    Some(std::array::from_fn(|_| {
        let server = at;
        given += 1;
        if given >= dests[at].weight() {
            at = if at == last { 0 } else { at + 1 };
            given = 0;
        }
        server
    }))
}

/// Looks clients up in the table, which holds all there is to know.
#[derive(Clone)]
struct Lookup;

impl Scheduler for Lookup {
    fn schedule(&mut self, request: &Request<'_>, dests: &Dests) -> Option<usize> {
        let table = dests.prepared::<Table>()?;
        let hash = hash_32(client(request.flow, table.port), BUCKET_BITS);
        let bucket = |offset| (hash + offset) % BUCKETS;
        if table.fallback {
            return fall_back(BUCKETS, bucket, |bucket| table.servers[bucket], dests);
        }
        let at = table.servers[bucket(0)];
        dests[at].takes_conns().then_some(at)
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Service, dests};

    #[test]
    fn buckets_go_by_weight_and_a_quiesced_server_still_has_one() {
        let buckets = servers(&dests(&[2, 0, 3])).expect("servers");
        assert_eq!(buckets[..8], [0, 0, 1, 2, 2, 2, 0, 0]);
        assert_eq!(servers(&dests(&[])), None);
    }

    #[test]
    fn a_client_stays_with_its_server_from_any_port_unless_ports_count() {
        let choices = |options: &SchedulerOptions| {
            let mut service = Service::with("sh", &[1; 8], options);
            (1..100)
                .map(|port| service.choice_for(&format!("192.0.2.1:{port}"), "10.0.0.1:80"))
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        };
        let mut options = SchedulerOptions::default();
        assert_eq!(choices(&options), 1);
        options.port = true;
        assert_eq!(choices(&options), 8);
    }

    #[test]
    fn only_with_fallback_do_clients_of_a_lost_server_find_another() {
        for fallback in [false, true] {
            let options = SchedulerOptions {
                fallback,
                ..SchedulerOptions::default()
            };
            let mut service = Service::with("sh", &[1, 1, 1], &options);
            let at = service.choice().expect("a server");
            service.dests[at].set_weight(0);
            assert_eq!(service.choice().is_some(), fallback);
            service.dests.iter().for_each(|dest| dest.set_weight(0));
            assert_eq!(service.choice(), None);
        }
    }
}
