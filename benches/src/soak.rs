//! A soak: an engine in memory under everything at once, for as long as one likes, with its books audited on the way.
//!
//! [`Traffic`] says what comes, [`audit`] what has to hold. The clock is the soak's own: a turn takes 20 microseconds of it,
//! and now and then some seconds are skipped, so that conns end as they do in hours of real time.

mod audit;
mod regulars;
mod traffic;

use std::fmt;
use std::time::Duration;

use lb::{
    Addr, Config, Counter, Counters, Endpoint, Engine, InterfaceId, Port, Prefix, Protocol,
    ServiceConfig, Time, Worker,
};
use lb_testkit::MemoryPort;

use crate::{CLIENT_SIDE, next_hops, service};
use regulars::Regulars;
use traffic::Traffic;

/// Few enough that floods fill the table, and more than the regulars' conns by far.
const CAPACITY: u32 = 20_000;
/// Few enough that FNAT and ENAT run out of them.
const LOCAL_PORTS: u16 = 16;
const FRAMES: u32 = 512;
const MODES: [&str; 5] = ["dr", "nat", "fnat", "enat", "tun"];

const TURN: Duration = Duration::from_micros(20);
/// Turns between two audits, and about as many between two skips of time.
const TURNS_PER_AUDIT: u64 = 2048;
/// Longer than any conn lives.
const END: Duration = Duration::from_secs(3600);

/// What was done, and what came of it.
pub struct Report {
    /// Turns.
    pub turns: u64,
    /// The most conns there were at an audit.
    pub most_conns: usize,
    /// What the worker counted.
    pub counters: Counters,
}

impl Report {
    /// Packets that came in.
    pub fn packets(&self) -> u64 {
        self.counters.of(Counter::Rx)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} turns, at most {} conns", self.turns, self.most_conns)?;
        for (counter, value) in self.counters.nonzero() {
            writeln!(f, "    {counter:<28} {value:>14}")?;
        }
        Ok(())
    }
}

/// An engine, its traffic, and what is remembered of it for the audits.
pub struct Soak {
    engine: Engine,
    config: Config,
    worker: Worker<MemoryPort>,
    traffic: Traffic,
    regulars: Regulars,
    now: Time,
    turns: u64,
    most_conns: usize,
    injected: u64,
    sent: u64,
}

impl Soak {
    /// An engine with services in all modes, under traffic that this seed decides on. The clients that stay have their
    /// conns when this returns.
    pub fn new(seed: u64) -> Soak {
        let config = config();
        let engine = Engine::new(&config).expect("a valid configuration");
        let mut hops = next_hops();
        // Clients whose MACs nobody ever tells: what is for them has to wait.
        let unknown = Prefix::new(Addr::v4(traffic::UNREACHABLE), 24);
        hops.set_route(unknown, Some(CLIENT_SIDE), None);
        engine.set_next_hops(hops);
        let mut soak = Soak {
            worker: engine.worker(MemoryPort::new(FRAMES)),
            engine,
            traffic: Traffic::new(seed, vips()),
            regulars: Regulars::default(),
            config,
            now: Time::ZERO,
            turns: 0,
            most_conns: 0,
            injected: 0,
            sent: 0,
        };
        for vip in vips() {
            for number in 0..regulars::PER_SERVICE {
                let regular = regulars::open(&mut soak, vip, number);
                soak.regulars.push(regular);
            }
        }
        soak
    }

    /// Some turns of mixed traffic, and an audit.
    ///
    /// # Panics
    /// If something does not hold that always must.
    pub fn run(&mut self) {
        for _ in 0..TURNS_PER_AUDIT {
            let packets = self.traffic.next(&self.regulars);
            let port = self.worker.port_mut();
            port.set_transmit_room(if self.traffic.one_in(64) {
                16
            } else {
                usize::MAX
            });
            port.set_kernel_takes(!self.traffic.one_in(64));
            for (ingress, packet) in packets {
                // One that finds no free frame is lost on the wire, as on a full RX ring.
                self.injected += u64::from(port.inject(ingress, &packet));
            }
            self.turn();
        }
        self.most_conns = self.most_conns.max(self.worker.conns().len());
        // Conns that ended in a turn, to make room for others, give their ports back in the next one.
        self.turn();
        self.audit();
        if self.traffic.one_in(4) {
            self.edit();
        }
        self.now = self.now + Duration::from_secs(self.traffic.below(60).into());
    }

    fn turn(&mut self) {
        self.now = self.now + TURN;
        self.worker.turn(self.now);
        self.turns += 1;
        let port = self.worker.port_mut();
        while let Some((egress, packet)) = port.take_sent() {
            self.sent += 1;
            self.traffic.was_sent(egress, packet);
        }
        while port.take_punted().is_some() {}
        assert!(port.census().is_conserved(), "{:?}", port.census());
    }

    /// A packet, the turn that handles it, and what was sent then.
    fn exchange(&mut self, ingress: InterfaceId, packet: &[u8]) -> Option<Vec<u8>> {
        let port = self.worker.port_mut();
        self.injected += u64::from(port.inject(ingress, packet));
        self.now = self.now + TURN;
        self.worker.turn(self.now);
        let port = self.worker.port_mut();
        let (_, sent) = port.take_sent()?;
        self.sent += 1;
        Some(sent)
    }

    /// An administrator at work: other weights, at times 0, or another scheduler.
    fn edit(&mut self) {
        let which = self.traffic.below(self.config.services.len() as u32) as usize;
        let service = &mut self.config.services[which];
        match self.traffic.below(2) {
            0 => {
                let server = self.traffic.below(service.servers.len() as u32) as usize;
                service.servers[server].weight = self.traffic.below(4);
            }
            _ => {
                let names = ["rr", "wrr", "lc", "wlc", "sh", "mh", "sed", "lblc"];
                service.scheduler = names[self.traffic.below(names.len() as u32) as usize].into();
            }
        }
        self.engine.apply(&self.config).expect("still valid");
    }

    fn audit(&self) {
        let counters = self.worker.counters();
        audit::packets(counters, self.injected, self.sent);
        audit::waiting(&self.worker, FRAMES);
        audit::conns(&self.worker, &self.engine, self.now);
        self.regulars.audit(self.worker.conns());
    }

    /// How far it has come.
    pub fn report(&self) -> Report {
        Report {
            turns: self.turns,
            most_conns: self.most_conns,
            counters: self.worker.counters().clone(),
        }
    }

    /// Lets all conns end, and sees to it that nothing is left of them.
    ///
    /// # Panics
    /// If something is.
    pub fn end(mut self) -> Report {
        self.worker.port_mut().set_transmit_room(usize::MAX);
        self.now = self.now + END;
        let most = u64::from(CAPACITY);
        let first = self.turns;
        while !self.worker.conns().is_quiet() {
            assert!(self.turns < first + most, "conns that do not end");
            self.turn();
        }
        let counters = self.worker.counters().clone();
        audit::packets(&counters, self.injected, self.sent);
        audit::emptiness(&self.worker, &self.engine, &self.config);
        let report = self.report();
        let mut port = self.worker.into_port();
        while port.take_sent().is_some() {}
        assert_eq!(port.census().free, u64::from(FRAMES), "frames come back");
        report
    }
}

/// A service's address and protocol.
type Vip = (Endpoint, Protocol);

fn vips() -> Vec<Vip> {
    let services = config().services.into_iter();
    let key = |service: ServiceConfig| match service.id {
        lb::ServiceId::Address(key) => (key.vip, key.protocol),
        lb::ServiceId::Mark(..) => unreachable!("none has a mark"),
    };
    services.map(key).collect()
}

/// Every mode over both families for TCP and UDP: each at a port of its own, from 80 on.
fn config() -> Config {
    let mut config = Config::default();
    config.engine.capacity = CAPACITY;
    config.engine.local_ports = 1024..=1023 + LOCAL_PORTS;
    for (port, mode) in (80..).zip(MODES) {
        for (v6, protocol) in [
            (false, Protocol::Tcp),
            (false, Protocol::Udp),
            (true, Protocol::Tcp),
            (true, Protocol::Udp),
        ] {
            let mut service = service(mode, protocol, v6, v6);
            service.id = moved(service.id, port);
            let may_map_ports = ["nat", "fnat", "enat"].contains(&mode);
            for server in &mut service.servers {
                server.rip.port = if may_map_ports { 8080 } else { port };
            }
            config.services.push(service);
        }
    }
    config
}

fn moved(id: lb::ServiceId, port: u16) -> lb::ServiceId {
    match id {
        lb::ServiceId::Address(mut key) => {
            key.vip.port = port;
            key.into()
        }
        mark => mark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb::DropReason;

    #[test]
    fn the_books_are_in_order_after_some_of_everything() {
        let seed = 0x5eed_1bd0;
        println!("seed {seed:#x}");
        let mut soak = Soak::new(seed);
        (0..8).for_each(|_| soak.run());
        let report = soak.end();
        println!("{report}");
        // What the mix is meant to provoke.
        for counter in [
            Counter::ConnOpen,
            Counter::ConnExpire,
            Counter::ConnEvict,
            Counter::Held,
            Counter::Joined,
            Counter::Split,
            Counter::Drop(DropReason::TableFull),
            Counter::Drop(DropReason::NoLocalPort),
            Counter::Drop(DropReason::TxRingFull),
            Counter::Drop(DropReason::PuntFailed),
            Counter::Drop(DropReason::NeighbourUnresolved),
        ] {
            assert!(report.counters.of(counter) > 0, "no {counter}");
        }
        assert!(report.counters.punted() > 0);
    }
}
