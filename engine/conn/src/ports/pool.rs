//! The ports of one local address towards one server. A pool takes two bytes for each port given back, which is 126 KiB at
//! most, and nothing once it has been quiet for [`QUIET`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lb_model::{Addr, Endpoint, Protocol, Time};

use super::{ByQueue, Range};
use crate::local_use::OwnUse;

/// No server remembers a connection for longer: twice the 60 seconds of Linux, the 2 MSL of RFC 9293 section 3.4.2 with
/// the usual MSL of a minute.
const QUIET: Duration = Duration::from_secs(120);

/// What a pool's ports are for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolKey {
    pub local: Addr,
    pub server: Endpoint,
    pub protocol: Protocol,
}

/// Ports that are leased, were given back, or were never in use.
pub struct Pool {
    key: PoolKey,
    range: Range,
    /// Which of these ports are the worker's own, if not all: with this hash of the replies to it.
    own: Option<(u32, Arc<ByQueue>)>,
    /// Where in the range it began.
    start: u32,
    /// How many ports, from there on, were ever leased or passed over.
    used: u32,
    /// Those given back, the oldest in front.
    free: VecDeque<u16>,
    leased: u32,
    /// When the last one was given back.
    quiet_since: Time,
    uses: Arc<OwnUse>,
}

impl Pool {
    /// One that hands out the ports of `range` that are its `own`, from the one with this number on.
    pub fn new(
        key: PoolKey,
        range: Range,
        own: Option<(u32, Arc<ByQueue>)>,
        start: u32,
        uses: Arc<OwnUse>,
    ) -> Pool {
        Pool {
            key,
            range,
            own,
            start,
            used: 0,
            free: VecDeque::new(),
            leased: 0,
            quiet_since: Time::ZERO,
            uses,
        }
    }

    /// What it is for.
    pub fn key(&self) -> &PoolKey {
        &self.key
    }

    /// The port that has been free for longest.
    #[inline]
    pub fn take(&mut self, now: Time) -> Option<u16> {
        if self.is_quiet(now) && !self.free.is_empty() {
            // Nobody remembers any of them: go on from here, and give the memory back.
            self.start = (self.start + self.used) % self.range.count;
            (self.used, self.free) = (0, VecDeque::new());
        }
        let Some(port) = self.unused().or_else(|| self.free.pop_front()) else {
            self.uses.exhaust();
            return None;
        };
        self.leased += 1;
        self.uses.lease();
        Some(port)
    }

    /// Takes back a port that it has handed out.
    pub fn give_back(&mut self, port: u16, now: Time) {
        self.free.push_back(port);
        self.leased -= 1;
        self.uses.give_back();
        self.quiet_since = now;
    }

    /// The next of its own ports that was never leased.
    #[inline]
    fn unused(&mut self) -> Option<u16> {
        while self.used < self.range.count {
            let place = self.start + self.used;
            let beyond = if place < self.range.count {
                0
            } else {
                self.range.count
            };
            // Below 65536, as all of the range.
            let port = self.range.first + (place - beyond) as u16;
            self.used += 1;
            let local = Endpoint::new(self.key.local, port);
            let is_own = |(hash, by_queue): &(u32, Arc<ByQueue>)| by_queue.is_own(*hash, local);
            if self.own.as_ref().is_none_or(is_own) {
                return Some(port);
            }
        }
        None
    }

    /// Whether nobody remembers any of its ports.
    pub fn is_quiet(&self, now: Time) -> bool {
        self.leased == 0 && now.since(self.quiet_since) >= QUIET
    }

    /// How many ports were ever leased or passed over.
    #[cfg(test)]
    pub fn used(&self) -> u32 {
        self.used
    }

    /// How many of these wait to be leased again.
    #[cfg(test)]
    pub fn given_back(&self) -> u32 {
        self.free.len() as u32
    }
}
