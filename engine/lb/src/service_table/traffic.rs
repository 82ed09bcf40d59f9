//! What services and servers carry: totals as IPVS keeps them (`ip_vs_kstats`), and rates as it estimates them
//! (kernel `net/netfilter/ipvs/ip_vs_est.c`).
//!
//! Workers count by server, each in its own [`TrafficBook`]. Everything else is worked out here when somebody asks: a
//! service carries what its servers carry, and what those carried that it does not have any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lb_model::{Conduct, Dest, Endpoint, ServiceId, Slots, Time, Traffic};
use lb_runtime::TrafficBook;
use parking_lot::Mutex;

use super::{Refusal, ServiceTable};

/// How often rates are estimated.
const INTERVAL: Duration = Duration::from_secs(2);
/// Estimates without traffic that bring any rate down to nothing.
const FORGETFUL: u64 = 256;

/// What was counted of a service or a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// Since it was made or last [zeroed](ServiceTable::zero).
    pub totals: Traffic,
    /// Since it was made.
    pub lifetime: Traffic,
    /// Per second, lately: each two seconds count a quarter, and what was before three quarters.
    pub rates: Traffic,
}

/// The books of all workers.
#[derive(Clone, Default)]
pub(crate) struct Books(Arc<Mutex<Vec<Arc<TrafficBook>>>>);

impl Books {
    pub(crate) fn add(&self, book: Arc<TrafficBook>) {
        self.0.lock().push(book);
    }

    fn sum(&self, slot: u32) -> Traffic {
        let books = self.0.lock();
        let lines = books.iter().map(|book| book.load(slot));
        lines.fold(Traffic::default(), |sum, line| sum + line)
    }

    fn conduct(&self, slot: u32) -> Conduct {
        let books = self.0.lock();
        let lines = books.iter().map(|book| book.conduct(slot));
        lines.fold(Conduct::default(), |sum, line| sum + line)
    }
}

/// Of one service or server: all relative to what its workers ever counted.
#[derive(Clone, Copy, Default)]
struct Account {
    zero: Traffic,
    /// At the last estimate.
    last: Traffic,
    /// As the kernel keeps them: conns and packets times 1024, bytes times 32.
    scaled: Traffic,
}

impl Account {
    fn estimate(&mut self, lifetime: Traffic) {
        let grown = lifetime - self.last;
        self.last = lifetime;
        let approach =
            |rate: u64, now: u64| rate.wrapping_add_signed((now as i64 - rate as i64) >> 2);
        self.scaled = self.scaled.zip(shifted(grown, 9, 4), approach);
    }

    fn zero(&mut self, lifetime: Traffic) {
        *self = Account {
            zero: lifetime,
            last: lifetime,
            scaled: Traffic::default(),
        };
    }

    fn counted(&self, lifetime: Traffic) -> Counted {
        let Traffic {
            conns,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        } = self.scaled;
        let packets = |scaled: u64| (scaled + 0x1ff) >> 10;
        let bytes = |scaled: u64| (scaled + 0xf) >> 5;
        Counted {
            totals: lifetime - self.zero,
            lifetime,
            rates: Traffic {
                conns: packets(conns),
                in_packets: packets(in_packets),
                out_packets: packets(out_packets),
                in_bytes: bytes(in_bytes),
                out_bytes: bytes(out_bytes),
            },
        }
    }
}

fn shifted(traffic: Traffic, packets: u32, bytes: u32) -> Traffic {
    Traffic {
        conns: traffic.conns << packets,
        in_packets: traffic.in_packets << packets,
        out_packets: traffic.out_packets << packets,
        in_bytes: traffic.in_bytes << bytes,
        out_bytes: traffic.out_bytes << bytes,
    }
}

#[derive(Default)]
struct ServiceAccount {
    account: Account,
    /// What servers carried that are not its own any more.
    gone: Traffic,
}

#[derive(Default)]
struct ServerAccount {
    account: Account,
    /// What its slot's line said when the server was made.
    origin: Traffic,
    conduct_origin: Conduct,
    /// What of its traffic its service counts as gone.
    settled: Traffic,
    /// Whether its service was removed: another of the same name begins at 0, and its servers do.
    orphaned: bool,
}

/// All accounts.
#[derive(Default)]
pub(super) struct Accounts {
    pub(super) books: Books,
    pub(super) slots: Slots,
    services: HashMap<ServiceId, ServiceAccount>,
    /// By slot.
    servers: HashMap<u32, ServerAccount>,
    /// What services carried that are no more.
    gone: Traffic,
    next_estimate: Option<Time>,
}

impl Accounts {
    pub(super) fn service_added(&mut self, id: ServiceId) {
        self.services.insert(id, ServiceAccount::default());
    }

    /// Its servers are gone already.
    pub(super) fn service_removed(&mut self, id: ServiceId) {
        if let Some(service) = self.services.remove(&id) {
            self.gone += service.gone;
        }
    }

    pub(super) fn orphaned(&mut self, dest: &Dest) {
        if let Some(server) = self.servers.get_mut(&dest.slot()) {
            server.orphaned = true;
        }
    }

    pub(super) fn server_made(&mut self, dest: &Dest) {
        let account = ServerAccount {
            origin: self.books.sum(dest.slot()),
            conduct_origin: self.books.conduct(dest.slot()),
            ..ServerAccount::default()
        };
        self.servers.insert(dest.slot(), account);
    }

    pub(super) fn server_added_again(&mut self, dest: &Dest) {
        let lifetime = self.lifetime_of(dest);
        if let Some(server) = self.servers.get_mut(&dest.slot())
            && server.orphaned
        {
            server.account.zero(lifetime);
            server.settled = lifetime;
            server.orphaned = false;
        }
    }

    pub(super) fn server_removed(&mut self, id: ServiceId, dest: &Dest) {
        let lifetime = self.lifetime_of(dest);
        if let (Some(server), Some(service)) = (
            self.servers.get_mut(&dest.slot()),
            self.services.get_mut(&id),
        ) {
            service.gone += lifetime - server.settled;
            server.settled = lifetime;
        }
    }

    fn lifetime_of(&self, dest: &Dest) -> Traffic {
        let server = self.servers.get(&dest.slot());
        let origin = server.map_or(Traffic::default(), |server| server.origin);
        self.books.sum(dest.slot()) - origin
    }

    fn lifetime_of_service(&self, id: ServiceId, dests: &[Arc<Dest>]) -> Traffic {
        let gone = self.services.get(&id).map(|service| service.gone);
        let own = dests.iter().map(|dest| {
            let server = self.servers.get(&dest.slot());
            let settled = server.map_or(Traffic::default(), |server| server.settled);
            self.lifetime_of(dest) - settled
        });
        own.fold(gone.unwrap_or_default(), |sum, traffic| sum + traffic)
    }

    fn zero(&mut self, id: ServiceId, dests: &[Arc<Dest>]) {
        let lifetime = self.lifetime_of_service(id, dests);
        if let Some(service) = self.services.get_mut(&id) {
            service.account.zero(lifetime);
        }
        for dest in dests {
            let lifetime = self.lifetime_of(dest);
            if let Some(server) = self.servers.get_mut(&dest.slot()) {
                server.account.zero(lifetime);
            }
        }
    }

    fn estimate(&mut self, id: ServiceId, dests: &[Arc<Dest>]) {
        let lifetime = self.lifetime_of_service(id, dests);
        if let Some(service) = self.services.get_mut(&id) {
            service.account.estimate(lifetime);
        }
        for dest in dests {
            let lifetime = self.lifetime_of(dest);
            if let Some(server) = self.servers.get_mut(&dest.slot()) {
                server.account.estimate(lifetime);
            }
        }
    }
}

impl ServiceTable {
    /// What was counted of a service.
    pub fn traffic_of_service(&self, id: ServiceId) -> Option<Counted> {
        let service = self.services.named(&id)?;
        let account = self.accounts.services.get(&id)?.account;
        let lifetime = self.accounts.lifetime_of_service(id, service.dests());
        Some(account.counted(lifetime))
    }

    /// What was counted of a server in a service.
    pub fn traffic_of_server(&self, id: ServiceId, rip: Endpoint) -> Option<Counted> {
        let dest = self.server(id, rip)?;
        let account = self.accounts.servers.get(&dest.slot())?.account;
        Some(account.counted(self.accounts.lifetime_of(dest)))
    }

    /// How a server in a service has treated its conns since it was made.
    pub fn conduct_of_server(&self, id: ServiceId, rip: Endpoint) -> Option<Conduct> {
        let dest = self.server(id, rip)?;
        let account = self.accounts.servers.get(&dest.slot())?;
        Some(self.accounts.books.conduct(dest.slot()) - account.conduct_origin)
    }

    /// What was ever carried, by services that are no more too.
    pub fn traffic(&self) -> Traffic {
        let services = self.services.iter();
        let lifetimes = services.map(|service| {
            self.accounts
                .lifetime_of_service(service.id(), service.dests())
        });
        lifetimes.fold(self.accounts.gone, |sum, traffic| sum + traffic)
    }

    /// Lets the totals and rates of a service and its servers, or of all, begin at 0 (ipvsadm `-Z`).
    pub fn zero(&mut self, id: Option<ServiceId>) -> Result<(), Refusal> {
        if let Some(id) = id {
            let service = self.services.named(&id).ok_or(Refusal::NoSuchService)?;
            self.accounts.zero(id, service.dests());
            return Ok(());
        }
        for service in self.services.iter() {
            self.accounts.zero(service.id(), service.dests());
        }
        Ok(())
    }

    /// Estimates the rates anew for each two seconds that are over at `now`; to be called about as often.
    pub(crate) fn estimate(&mut self, now: Time) {
        let next = *self.accounts.next_estimate.get_or_insert(now + INTERVAL);
        if now < next {
            return;
        }
        let behind = now.since(next).as_nanos() / INTERVAL.as_nanos();
        let behind = u64::try_from(behind).unwrap_or(u64::MAX);
        // What was counted since the last estimate belongs to the first interval after it.
        for _ in 0..=behind.min(FORGETFUL) {
            for service in self.services.iter() {
                self.accounts.estimate(service.id(), service.dests());
            }
        }
        let passed = INTERVAL.as_nanos() as u64 * (behind + 1);
        self.accounts.next_estimate = Some(next + Duration::from_nanos(passed));
    }

    pub(crate) fn books(&self) -> &Books {
        &self.accounts.books
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_approach_what_flows_as_the_kernels_estimator_does() {
        let mut account = Account::default();
        let mut lifetime = Traffic::default();
        let mut seen = Vec::new();
        for second in 0..12_u64 {
            if second < 8 {
                lifetime.in_packets += 200;
                lifetime.in_bytes += 8000;
            }
            account.estimate(lifetime);
            let rates = account.counted(lifetime).rates;
            seen.push((rates.in_packets, rates.in_bytes));
        }
        // From the kernel's formula, in shell arithmetic.
        assert_eq!(
            seen,
            [
                (25, 1000),
                (44, 1750),
                (58, 2312),
                (68, 2734),
                (76, 3051),
                (82, 3288),
                (87, 3466),
                (90, 3599),
                (67, 2700),
                (51, 2025),
                (38, 1519),
                (28, 1139)
            ]
        );
        account.zero(lifetime);
        assert_eq!(account.counted(lifetime).totals, Traffic::default());
        assert_eq!(account.counted(lifetime).rates, Traffic::default());
        account.scaled.in_packets = u64::from(u32::MAX) << 10;
        for _ in 0..FORGETFUL {
            account.estimate(lifetime);
        }
        assert_eq!(account.counted(lifetime).rates, Traffic::default());
    }
}
