//! Real servers.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::Endpoint;

/// A real server in one service: RIP:rport with its weight and its conns, shared by all workers.
///
/// The counts are touched when a conn opens, changes between active and inactive, or ends: never per packet.
#[derive(Debug)]
pub struct Dest {
    rip: Endpoint,
    weight: AtomicU32,
    active: AtomicU32,
    inactive: AtomicU32,
}

impl Dest {
    /// A server without conns.
    pub fn new(rip: Endpoint, weight: u16) -> Dest {
        Dest {
            rip,
            weight: AtomicU32::new(weight.into()),
            active: AtomicU32::new(0),
            inactive: AtomicU32::new(0),
        }
    }

    /// RIP:rport.
    pub fn rip(&self) -> Endpoint {
        self.rip
    }

    /// Its weight, 0 to 65535; 0 quiesces it: no new conns, old ones live on.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Changes the weight, from the next scheduling decision on.
    pub fn set_weight(&self, weight: u16) {
        self.weight.store(weight.into(), Ordering::Relaxed);
    }

    /// Conns in an active state (ipvsadm's ActiveConn).
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// All other conns (ipvsadm's InActConn).
    pub fn inactive(&self) -> u32 {
        self.inactive.load(Ordering::Relaxed)
    }

    /// A conn opened, in an active state or not.
    pub fn conn_opened(&self, active: bool) {
        self.count(active).fetch_add(1, Ordering::Relaxed);
    }

    /// A conn ended that was counted as `active` says.
    pub fn conn_ended(&self, active: bool) {
        self.count(active).fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&self, active: bool) -> &AtomicU32 {
        if active { &self.active } else { &self.inactive }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_conns_between_active_and_inactive() {
        let dest = Dest::new("10.0.0.1:80".parse().expect("valid"), 1);
        dest.conn_opened(true);
        dest.conn_opened(false);
        dest.conn_ended(true);
        dest.conn_opened(false);
        assert_eq!((dest.active(), dest.inactive()), (0, 2));
    }
}
