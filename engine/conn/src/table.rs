//! The table: a slab of entries, an index of flow keys over it, a wheel of time-outs beside it.
//!
//! What happens to a conn has a file each: [`opening`], [`lookup`], [`packet`], [`ending`], [`listing`].

mod ending;
mod key;
mod listing;
mod lookup;
mod opening;
mod packet;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod work;

use std::sync::Arc;

use lb_model::{BATCH, ConnState};

use crate::claims::Claims;
use crate::dests::ConnDests;
use crate::entry::{Entries, TimeoutsOfStates};
use crate::fifo::Fifo;
use crate::hash::FlowHasher;
use crate::index::{Hash, Index};
use crate::sign::Signs;
use crate::wheel::Wheel;
use crate::{LocalPorts, Templates, Timeouts};

pub use key::Guess;
pub use listing::ConnView;
pub use opening::{Begun, Refused};

/// The conns of one worker.
pub struct ConnTable {
    entries: Entries,
    /// Conns that can be found.
    found: u32,
    capacity: u32,
    /// Places are [`Key`]s.
    index: Index,
    hasher: FlowHasher,
    dests: ConnDests,
    /// All conns but those in the next.
    wheel: Wheel,
    /// TCP conns of which the server's SYN was not answered: by their last packet, which is by their end, too.
    half_open: Fifo,
    /// The last conn that ended in this batch; its link leads to the one before.
    retired: u32,
    /// Where the search for conns whose servers were removed goes on.
    sweep: Option<u32>,
    /// Whether as many conns ended at once as were allowed to.
    at_limit: bool,
    evicted: u64,
    /// What servers showed lately, by their slots.
    signs: Signs,
    timeouts: Timeouts,
    secure_tcp: bool,
    timeouts_ms: TimeoutsOfStates,
    templates: Templates,
    ports: LocalPorts,
    /// Where other workers ask for the owners of conns, if there are any.
    claims: Option<Claims>,
    unclaimed: u64,
}

/// Conns that a table can be made for: a conn's number and a direction have to fit the 31 bits of a place in the index.
pub const MAX_CAPACITY: u32 = 1_000_000_000;

/// Bytes that a conn takes in its worker's table, with its keys in the index. An IPv6 conn takes 64 more.
pub const BYTES_PER_CONN: u64 = 80;

/// Entries beyond the capacity, for conns that end within a batch and may still be named there: one for each packet
/// that opens a conn in place of another.
const SPARE: u32 = BATCH as u32;

const NONE: u32 = u32::MAX;

impl ConnTable {
    /// A table for `capacity` conns, with its memory reserved, whose conns lease `ports`.
    ///
    /// # Panics
    /// If `capacity` is above [`MAX_CAPACITY`].
    pub fn new(capacity: u32, timeouts: Timeouts, ports: LocalPorts) -> ConnTable {
        assert!(
            capacity <= MAX_CAPACITY,
            "a conn's place and a direction fit the 31 bits of the index"
        );
        ConnTable {
            entries: Entries::new(capacity + SPARE),
            found: 0,
            capacity,
            index: Index::new(2 * u64::from(capacity)),
            hasher: FlowHasher::new(),
            dests: ConnDests::new(),
            wheel: Wheel::new(),
            half_open: Fifo::new(),
            retired: NONE,
            sweep: None,
            at_limit: false,
            evicted: 0,
            signs: Signs::new(),
            timeouts_ms: in_millis(&timeouts),
            timeouts,
            secure_tcp: false,
            templates: Templates::new(capacity),
            ports,
            claims: None,
            unclaimed: 0,
        }
    }

    /// The table, still empty, of one of several workers: others can find out that a conn is in it.
    #[must_use]
    pub fn with_claims(mut self, claims: Claims) -> ConnTable {
        self.hasher = claims.hasher.clone();
        self.templates.share(Arc::clone(&claims.agreed));
        self.claims = Some(claims);
        self
    }

    /// Which other worker may have the conn of a flow with this [hash](ConnTable::hash), which is not in this table.
    #[inline]
    pub fn owner(&self, hash: Hash) -> Option<u16> {
        self.claims.as_ref()?.owner(hash.whole)
    }

    /// How many keys of conns could not be claimed since this was last asked: other workers do not find their owner.
    pub fn take_unclaimed(&mut self) -> u64 {
        std::mem::take(&mut self.unclaimed)
    }

    /// Takes its memory from the kernel now, rather than bit by bit while packets wait for it; that for IPv6 addresses is
    /// still taken as it is needed.
    pub fn populate(&self) {
        self.index.populate();
        self.entries.populate();
        if let Some(claims) = &self.claims {
            claims.populate();
        }
    }

    /// Whether half-open conns are dealt with as in a flood of them, from their next packets on.
    pub fn set_secure_tcp(&mut self, secure: bool) {
        self.secure_tcp = secure;
    }

    /// Other time-outs, for every conn from its next packet on (ipvsadm `--set`).
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts_ms = in_millis(&timeouts);
        self.timeouts = timeouts;
    }

    /// The time-outs in force.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The persistence templates.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The persistence templates.
    pub fn templates_mut(&mut self) -> &mut Templates {
        &mut self.templates
    }

    /// The local ports that conns lease. [`open`](ConnTable::open) takes over a lease.
    pub fn ports_mut(&mut self) -> &mut LocalPorts {
        &mut self.ports
    }

    /// How many conns it holds.
    pub fn len(&self) -> usize {
        self.found as usize
    }

    /// Whether nothing in it will end by itself: no conns, no templates.
    pub fn is_quiet(&self) -> bool {
        self.is_empty() && self.templates.is_empty()
    }

    /// How many conns it was made for.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// How many conns had to end before their time since this was last asked, because the table was full.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn in_millis(timeouts: &Timeouts) -> TimeoutsOfStates {
    ConnState::ALL.map(|state| timeouts.of(state).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conn_takes_80_bytes_in_all() {
        const CONNS: usize = 1 << 20;
        let entries = CONNS * size_of::<crate::entry::Entry>();
        let index = Index::new(2 * CONNS as u64).bytes();
        assert!(entries + index <= BYTES_PER_CONN as usize * CONNS + 4_096);
    }
}
