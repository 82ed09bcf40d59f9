//! The flows that the ENAT programs remember: how many, and the end of those that are over.

use std::time::Duration;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::{AgentError, Pins, maps};

/// Offsets in `struct flow_key` and `struct flow` of `include/enat.h`.
const KEY_PROTOCOL: usize = 36;
const FLOW_FLAGS: usize = 20;
const FLOW_SEEN: usize = 24;

const FLOW_CLOSING: u32 = 2;

/// TCP (RFC 9293 section 3.1).
const TCP: u8 = 6;

/// After FIN or RST; the kernel's TIME_WAIT and the last retransmissions are over by then.
const CLOSED: Duration = Duration::from_secs(120);

/// More than the two hours after which TCP keepalives begin: a connection that has them is never forgotten.
const IDLE_TCP: Duration = Duration::from_secs(7800);

/// As long as IPVS remembers a UDP conversation.
const IDLE_UDP: Duration = Duration::from_secs(300);

/// Entries that the kernel hands out at a time.
const BATCH: u32 = 1024;

/// The flows of a role's programs.
#[derive(Debug)]
pub struct Flows {
    map: MapHandle,
}

/// How many flows there are, and how many there may be; beyond that the one unused for longest goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Remembered now.
    pub used: u32,
    /// At most.
    pub capacity: u32,
}

impl Flows {
    /// Those pinned in `pins`.
    ///
    /// # Errors
    ///
    /// If the map is not there, or without the right to read it.
    pub fn open(pins: &Pins) -> Result<Flows, AgentError> {
        let map = maps::open(pins.path(), "flows")?;
        Ok(Flows { map })
    }

    /// Counts them.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn usage(&self) -> Result<Usage, AgentError> {
        let mut used = 0;
        self.each(|_, _| used += 1)?;
        Ok(Usage {
            used,
            capacity: self.map.max_entries(),
        })
    }

    /// Forgets those that are over, `now` being the monotonic clock's time; returns how many that were.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn sweep(&self, now: Duration) -> Result<u32, AgentError> {
        let mut over = Vec::new();
        self.each(|key, flow| {
            if is_over(key, flow, now) == Some(true) {
                over.push(key.to_vec());
            }
        })?;
        let gone = over.iter().filter(|key| self.map.delete(key).is_ok());
        Ok(gone.count() as u32)
    }

    fn each(&self, mut look: impl FnMut(&[u8], &[u8])) -> Result<(), AgentError> {
        let entries = self
            .map
            .lookup_batch(BATCH, MapFlags::ANY, MapFlags::ANY)
            .map_err(AgentError::map("flows"))?;
        for (key, flow) in entries {
            look(&key, &flow);
        }
        Ok(())
    }
}

fn is_over(key: &[u8], flow: &[u8], now: Duration) -> Option<bool> {
    let word = |at: usize| Some(u32::from_ne_bytes(*flow.get(at..)?.first_chunk()?));
    let seen = Duration::from_secs(word(FLOW_SEEN)?.into());
    let closing = word(FLOW_FLAGS)? & FLOW_CLOSING != 0;
    let limit = match (*key.get(KEY_PROTOCOL)? == TCP, closing) {
        (true, true) => CLOSED,
        (true, false) => IDLE_TCP,
        (false, _) => IDLE_UDP,
    };
    // Seen meanwhile by another clock's reckoning is seen now.
    Some(now.saturating_sub(seen) > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(protocol: u8, flags: u32, seen: u32, now: u64) -> Option<bool> {
        let mut key = [0; 40];
        key[KEY_PROTOCOL] = protocol;
        let mut flow = [0; 28];
        flow[FLOW_FLAGS..][..4].copy_from_slice(&flags.to_ne_bytes());
        flow[FLOW_SEEN..][..4].copy_from_slice(&seen.to_ne_bytes());
        is_over(&key, &flow, Duration::from_secs(now))
    }

    #[test]
    fn flows_are_over_when_closed_or_idle_for_long() {
        assert_eq!(over(TCP, 0, 100, 100 + 7800), Some(false));
        assert_eq!(over(TCP, 0, 100, 100 + 7801), Some(true));
        assert_eq!(over(TCP, FLOW_CLOSING | 1, 100, 220), Some(false));
        assert_eq!(over(TCP, FLOW_CLOSING | 1, 100, 221), Some(true));
        assert_eq!(over(17, 0, 100, 400), Some(false));
        assert_eq!(over(17, 0, 100, 401), Some(true));
        assert_eq!(over(17, 0, 100, 50), Some(false), "seen later than now");
    }

    #[test]
    fn what_is_no_flow_is_not_over() {
        assert_eq!(is_over(&[0; 10], &[0; 28], Duration::MAX), None);
        assert_eq!(is_over(&[0; 40], &[0; 4], Duration::MAX), None);
    }
}
