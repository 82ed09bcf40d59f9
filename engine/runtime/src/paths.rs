//! The MTUs of paths to servers, as far as routers on the way have complained (RFC 1191, RFC 8201).

use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{Addr, Time};

/// Servers are few.
const MAX_PATHS: usize = 1024;
/// A path may have become better since (`net.ipv4.route.mtu_expires`).
const LIFE: Duration = Duration::from_secs(600);
/// Whoever claims less is not believed (`net.ipv4.route.min_pmtu`).
const LEAST_V4: u32 = 552;
/// Every link carries this much of IPv6 (RFC 8200 section 5).
pub const LEAST_MTU_V6: u32 = 1280;

/// What was learned.
pub struct Paths {
    mtus: HashMap<Addr, Path, RandomState>,
    smallest: u32,
}

struct Path {
    mtu: u32,
    /// What packets are measured by since the last one that was asked about.
    in_use: u32,
    learned: Time,
}

impl Paths {
    pub fn new() -> Paths {
        Paths {
            mtus: HashMap::default(),
            smallest: u32::MAX,
        }
    }

    /// The smallest MTU there may be to look up.
    pub fn smallest(&self) -> u32 {
        self.smallest
    }

    /// The largest packet that reaches `addr` over an interface of `mtu`, as far as is known; in use from now on.
    pub fn mtu_to(&mut self, addr: Addr, mtu: u32, now: Time) -> u32 {
        match self.mtus.get_mut(&addr) {
            Some(path) if now.since(path.learned) < LIFE => {
                path.in_use = path.mtu;
                mtu.min(path.mtu)
            }
            _ => mtu,
        }
    }

    /// What [`mtu_to`](Paths::mtu_to) answered last: IPVS, too, tells of an MTU when it next meets it, and not when it
    /// learns of it.
    pub fn mtu_in_use(&self, addr: Addr, mtu: u32, now: Time) -> u32 {
        match self.mtus.get(&addr) {
            Some(path) if now.since(path.learned) < LIFE => mtu.min(path.in_use),
            _ => mtu,
        }
    }

    /// Notes that packets to `addr` must not be larger than `mtu`.
    pub fn learn(&mut self, addr: Addr, mtu: u32, now: Time) {
        let is_over = |path: &Path| now.since(path.learned) >= LIFE;
        if self.mtus.len() >= MAX_PATHS && !self.mtus.contains_key(&addr) {
            self.mtus.retain(|_, path| !is_over(path));
            if self.mtus.len() >= MAX_PATHS {
                return;
            }
        }
        let mtu = mtu.max(match addr.is_v4() {
            true => LEAST_V4,
            false => LEAST_MTU_V6,
        });
        let in_use = match self.mtus.get(&addr) {
            Some(path) if !is_over(path) => path.in_use,
            _ => u32::MAX,
        };
        self.mtus.insert(
            addr,
            Path {
                mtu,
                in_use,
                learned: now,
            },
        );
        self.smallest = self.smallest.min(mtu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_holds_for_a_while_and_for_so_many_only() {
        let addr = |n: u32| Addr::from(std::net::Ipv4Addr::from(n));
        let start = Time::ZERO;
        let mut paths = Paths::new();
        paths.learn(addr(1), 1400, start);
        assert_eq!(paths.mtu_in_use(addr(1), 1500, start), 1500);
        paths.learn(addr(2), 20, start);
        assert_eq!(paths.mtu_to(addr(1), 1500, start), 1400);
        assert_eq!(paths.mtu_to(addr(1), 1300, start), 1300);
        assert_eq!(paths.mtu_in_use(addr(1), 1500, start), 1400);
        assert_eq!(paths.mtu_to(addr(2), 1500, start), LEAST_V4);
        assert_eq!(paths.mtu_to(addr(3), 1500, start), 1500);
        let later = start + Duration::from_secs(599);
        for n in 3..5000 {
            paths.learn(addr(n), 1000, later);
        }
        assert_eq!(paths.mtu_to(addr(1024), 1500, later), 1000);
        assert_eq!(paths.mtu_to(addr(1025), 1500, later), 1500, "no room");
        let after = start + LIFE;
        assert_eq!(paths.mtu_to(addr(1), 1500, after), 1500);
        paths.learn(addr(5000), 1000, after);
        assert_eq!(paths.mtu_to(addr(5000), 1500, after), 1000);
    }
}
