//! Keeps the steering program in step with the machine, whose addresses and MACs come and go, and with the engine, whose
//! services do.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use lb_model::{
    Addr, Endpoint, InterfaceId, NextHops, Protocol, Replies, ServiceId, VirtualService,
};
use lb_netlink::Kernel;
use lb_runtime::Snapshot;
use lb_xsk::{Control, Rules, marked};

use super::LiveError;
use super::clock::Clock;
use super::queue_choice::QueueChoice;
use super::scarcity::Scarcity;
use crate::Engine;

/// How soon a stop or another configuration is noticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// The thread that follows; dropping it leaves all traffic to the kernel.
pub struct Follower {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Steers the engine's traffic to its workers, and keeps doing so as the machine and the engine change.
    pub fn start(
        kernel: Kernel,
        mut control: Control,
        engine: Arc<Engine>,
        mut queue_choice: Option<QueueChoice>,
    ) -> Result<Follower, LiveError> {
        let ports = engine.local_ports().clone();
        let mut seen = kernel.next_hops().load_full();
        let mut followed = engine.snapshot();
        let rules_of = {
            let engine = Arc::clone(&engine);
            move |snapshot: &Snapshot, next_hops: &NextHops| Rules {
                peers: engine.peers().into_iter().collect(),
                ..rules(snapshot, next_hops, &ports)
            }
        };
        control.set_rules(&rules_of(&followed, &seen))?;
        kernel.watch(&servers(&followed));
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let follow = move || {
            let clock = Clock::new();
            let mut scarcity = Scarcity::new();
            while !stop.load(Ordering::Relaxed) {
                let now = kernel.changed(&seen, PATIENCE);
                engine.estimate(clock.now());
                scarcity.look(&engine, clock.now());
                if let Some(choice) = &mut queue_choice {
                    choice.look(clock.now());
                }
                let snapshot = engine.snapshot();
                if !Arc::ptr_eq(&snapshot, &followed) {
                    kernel.watch(&servers(&snapshot));
                }
                if !Arc::ptr_eq(&snapshot, &followed) || !Arc::ptr_eq(&now, &seen) {
                    follow(&mut control, &rules_of(&snapshot, &now), &seen, &now);
                    (followed, seen) = (snapshot, now);
                }
            }
        };
        let thread = Builder::new()
            .name("lb-follower".into())
            .spawn(follow)
            .map_err(LiveError::Thread)?;
        Ok(Follower {
            stopping,
            thread: Some(thread),
        })
    }
}

/// What goes to the workers: packets to services and to local addresses' ports, and from servers whose replies come
/// through us. What answers a VIP in place of a client is such a reply, too, and none to this machine.
fn rules(snapshot: &Snapshot, next_hops: &NextHops, local_ports: &RangeInclusive<u16>) -> Rules {
    let mut rules = Rules {
        locals: next_hops.locals().collect(),
        marked: marked(snapshot.marks_in_use()),
        ..Rules::default()
    };
    let is_balanced = |service: &&VirtualService| {
        service
            .key()
            .is_none_or(|key| key.protocol != Protocol::Sctp)
    };
    for service in snapshot.services().iter().filter(is_balanced) {
        for lip in service.settings().local_addresses.iter() {
            rules.local_addresses.insert(*lip, local_ports.clone());
        }
        let key = service.key();
        let room = room(snapshot, service);
        rules.services.extend(key.map(|key| (key, room)));
        for dest in service.dests().iter() {
            let replies = snapshot.modes()[usize::from(dest.mode())].replies();
            if matches!(replies, Replies::ToClient | Replies::ByAgent) {
                rules.servers.extend(replying(service.id(), dest.rip()));
            }
            if let (Replies::ByAgent, Some(key)) = (replies, key) {
                rules.locals.remove(&key.vip.addr);
            }
        }
    }
    let vips = rules.services.keys().map(|key| key.vip.addr);
    rules.fragments_to = vips.chain(rules.local_addresses.keys().copied()).collect();
    let rips = rules.servers.iter().map(|(rip, _)| rip.addr);
    rules.fragments_from = rips.collect();
    rules
}

/// Where a server's replies come from: one that is asked for by any port answers from any.
fn replying(service: ServiceId, rip: Endpoint) -> Vec<(Endpoint, Protocol)> {
    let any_port = Endpoint::new(rip.addr, 0);
    match service {
        ServiceId::Address(key) if key.vip.port == 0 => vec![(any_port, key.protocol)],
        ServiceId::Address(key) => vec![(rip, key.protocol)],
        ServiceId::Mark(_) => vec![(any_port, Protocol::Tcp), (any_port, Protocol::Udp)],
    }
}

/// The bytes that go in front of every packet to the service; none if its servers differ in that.
fn room(snapshot: &Snapshot, service: &VirtualService) -> u8 {
    let mut rooms = service.dests().iter().map(|dest| {
        match snapshot.modes()[usize::from(dest.mode())].tunnels() {
            true => dest.tunnel().overhead(dest.rip().addr.is_v4()),
            false => 0,
        }
    });
    let first = rooms.next().unwrap_or(0);
    let room = if rooms.all(|room| room == first) {
        first
    } else {
        0
    };
    u8::try_from(room).unwrap_or(0)
}

/// The addresses of all real servers.
fn servers(snapshot: &Snapshot) -> Vec<Addr> {
    let dests = snapshot
        .services()
        .iter()
        .flat_map(|service| service.dests().iter());
    dests.map(|dest| dest.rip().addr).collect()
}

/// What cannot be followed is said once, and tried again with the next change.
fn follow(control: &mut Control, rules: &Rules, before: &NextHops, now: &NextHops) {
    if let Err(error) = control.set_rules(rules) {
        tracing::error!("steering rules not renewed: {error}");
    }
    for (id, (old, new)) in (0..).zip(before.interfaces().iter().zip(now.interfaces())) {
        if old.mac != new.mac
            && let Err(error) = control.set_mac(InterfaceId(id), new.mac)
        {
            tracing::error!(
                "{}: its new MAC {} is not steered to: {error}",
                new.name,
                new.mac
            );
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panicked if this fails, and has said so.
            let _ = thread.join();
        }
    }
}
