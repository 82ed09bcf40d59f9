//! Maglev hashing (kernel `net/netfilter/ipvs/ip_vs_mh.c`).
//!
//! ```text
//! hash(key, port, addr, offset) := SipHash-1-3, both key words = key,
//!     of (addr, an IPv6 one folded to 32 bits) + port + offset
//! slots: 4093; with every change of the dests:
//!     g := the greatest common divisor of the last weights, s := as much as leaves them at most 6 bits
//!     each dest has a row of slots that it would like:
//!         hash(2654435761, rport, RIP, 0) mod 4093, and from there steps of
//!         hash(2654446892, rport, RIP, 0) mod 4092 + 1
//!     until all slots are taken, in turn: each dest takes max((last weight / g) >> s, 1) free slots off its row
//! slot(offset) := hash(2654435761, 0 [or cport, with mh-port], CIP, offset) mod 4093
//! dest := slots[slot(0)]
//! return dest if weight(dest) > 0 and it is not overloaded
//! with mh-fallback, for offset in slot(0), slot(0) + 1, ... (all 4093 of them, mod 4093):
//!     dest := slots[slot(offset)]
//!     return dest if weight(dest) > 0 and it is not overloaded
//! return none
//! ```
//!
//! The last weight is the one before the server was quiesced, so that it gets its slots back; a server that was added
//! with weight 0 has none. Several balancers with the same servers in the same order choose the same; another order moves
//! some clients, the more the more servers there are.

use std::sync::Arc;

use lb_model::{Dest, Dests, Prepared, Request, Scheduler, SchedulerKind};
use siphasher::sip::SipHasher13;

use crate::SchedulerOptions;
use crate::divisor::greatest_common_divisor;
use crate::hash::{client, fall_back, fold};

const SLOTS: usize = 4093;
const SLOT_KEY: u64 = 2_654_435_761;
const STEP_KEY: u64 = 2_654_446_892;
/// Bits of the greatest share of slots that a server takes in its turn.
const SHARE_BITS: u32 = 6;

/// The `mh` scheduler.
pub struct Maglev {
    fallback: bool,
    port: bool,
}

impl Maglev {
    /// With the flags in `options`.
    pub fn new(options: &SchedulerOptions) -> Maglev {
        Maglev {
            fallback: options.fallback,
            port: options.port,
        }
    }
}

impl SchedulerKind for Maglev {
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
    /// Of each slot.
    servers: Vec<u32>,
    fallback: bool,
    port: bool,
}

/// A server that takes its slots.
struct Row {
    at: u32,
    next: usize,
    step: usize,
    share: u32,
}

/// Each slot's server by its position; none where no server has a share.
fn servers(dests: &[Arc<Dest>]) -> Option<Vec<u32>> {
    // As in the kernel, servers that come after as many as there are slots get none.
    let late = dests.len().saturating_sub(SLOTS);
    let weights = || dests[late..].iter().map(|dest| dest.last_weight());
    let divisor = greatest_common_divisor(weights());
    let greatest = weights().max()?.checked_div(divisor)?;
    let bits = u32::BITS - greatest.leading_zeros();
    let shift = bits.saturating_sub(SHARE_BITS);
    let mut rows: Vec<Row> = (0..)
        .zip(dests)
        .skip(late)
        .filter(|(_, dest)| dest.last_weight() > 0)
        .map(|(at, dest)| {
            let rip = fold(&dest.rip().addr).wrapping_add(dest.rip().port.into());
            Row {
                at,
                next: hash(SLOT_KEY, rip) % SLOTS,
                step: hash(STEP_KEY, rip) % (SLOTS - 1) + 1,
                share: ((dest.last_weight() / divisor) >> shift).max(1),
            }
        })
        .collect();

    let mut slots: Vec<Option<u32>> = vec![None; SLOTS];
    let mut free = SLOTS;
    while free > 0 {
        for row in &mut rows {
            for _ in 0..free.min(row.share as usize) {
                // Ends: SLOTS is a prime, so the row comes to every slot, and one is free.
                while slots[row.next].is_some() {
                    row.next = (row.next + row.step) % SLOTS;
                }
                slots[row.next] = Some(row.at);
                free -= 1;
            }
        }
    }
    slots.into_iter().collect()
}

fn hash(key: u64, value: u32) -> usize {
    // The kernel's hsiphash returns the lower half.
    SipHasher13::new_with_keys(key, key).hash(&value.to_le_bytes()) as u32 as usize
}

/// Looks clients up in the table, which holds all there is to know.
#[derive(Clone)]
struct Lookup;

impl Scheduler for Lookup {
    fn schedule(&mut self, request: &Request<'_>, dests: &Dests) -> Option<usize> {
        let table = dests.prepared::<Table>()?;
        let client = client(request.flow, table.port);
        let slot = |offset: usize| hash(SLOT_KEY, client.wrapping_add(offset as u32)) % SLOTS;
        let server = |slot: usize| table.servers[slot] as usize;
        if table.fallback {
            return fall_back(SLOTS, slot, server, dests);
        }
        let at = server(slot(0));
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

    fn shares(weights: &[u32]) -> Vec<usize> {
        let servers = servers(&dests(weights)).expect("a share");
        let share = |at: usize| servers.iter().filter(|s| **s as usize == at).count();
        (0..weights.len()).map(share).collect()
    }

    #[test]
    fn slots_are_shared_by_weight() {
        assert_eq!(shares(&[1, 1, 1]).iter().max(), Some(&1365));
        assert_eq!(shares(&[10, 0, 30]), [1024, 0, 3069]);
        assert_eq!(shares(&[1, 65_535])[0], 64, "a turn is 1 and 63 slots");
        assert!(servers(&dests(&[0, 0])).is_none());
        assert!(servers(&dests(&[])).is_none());
    }

    #[test]
    fn a_quiesced_server_keeps_its_slots_and_they_fail() {
        let mut service = Service::of("mh", &[1, 1, 1]);
        let before = service.clients(200);
        service.edit(|dests| dests[1].set_weight(0));
        let hoped: Vec<_> = before.iter().map(|s| s.filter(|at| *at != 1)).collect();
        assert!(hoped.contains(&None));
        assert_eq!(service.clients(200), hoped);
    }

    #[test]
    fn most_clients_keep_their_server_when_another_goes() {
        let mut service = Service::of("mh", &[1; 10]);
        let name = |service: &Service, at: Option<usize>| at.map(|at| service.dests[at].rip());
        let before = service.clients(1000);
        let before: Vec<_> = before.iter().map(|at| name(&service, *at)).collect();
        let gone = service.dests[3].rip();
        service.replace(|dests| {
            dests.remove(3);
        });
        let after = service.clients(1000);
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| **before != Some(gone) && **before != name(&service, **after))
            .count();
        assert!(moved < 50, "{moved} of 1000 moved without need");
    }

    #[test]
    fn more_servers_than_slots_leave_the_late_ones_without() {
        let servers = servers(&dests(&vec![1; SLOTS + 3])).expect("a share");
        assert_eq!(servers.iter().min(), Some(&3));
        assert_eq!(servers.iter().max(), Some(&(SLOTS as u32 + 2)));
    }
}
