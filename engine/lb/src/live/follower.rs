//! Keeps the steering program in step with the machine, whose addresses and MACs come and go, and with the engine, whose
//! services do.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use lb_model::{Addr, InterfaceId, NextHops, Protocol, Replies};
use lb_netlink::Kernel;
use lb_runtime::Snapshot;
use lb_xsk::{Control, Rules};

use super::LiveError;
use super::clock::Clock;
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
    ) -> Result<Follower, LiveError> {
        let ports = engine.local_ports().clone();
        let mut seen = kernel.next_hops().load_full();
        let mut followed = engine.snapshot();
        control.set_rules(&rules(&followed, &seen, &ports))?;
        kernel.watch(&servers(&followed));
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let follow = move || {
            let clock = Clock::new();
            while !stop.load(Ordering::Relaxed) {
                let now = kernel.changed(&seen, PATIENCE);
                engine.estimate(clock.now());
                let snapshot = engine.snapshot();
                if !Arc::ptr_eq(&snapshot, &followed) {
                    kernel.watch(&servers(&snapshot));
                }
                if !Arc::ptr_eq(&snapshot, &followed) || !Arc::ptr_eq(&now, &seen) {
                    follow(&mut control, &rules(&snapshot, &now, &ports), &seen, &now);
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
        ..Rules::default()
    };
    for service in snapshot.services() {
        for lip in service.settings().local_addresses.iter() {
            rules.local_addresses.insert(*lip, local_ports.clone());
        }
        let Some(key) = service.key() else { continue };
        if key.protocol == Protocol::Sctp {
            continue;
        }
        rules.services.insert(key);
        for dest in service.dests().iter() {
            match snapshot.modes()[usize::from(dest.mode())].replies() {
                Replies::Direct | Replies::ToLocalAddress => {}
                Replies::ToClient => {
                    rules.servers.insert((dest.rip(), key.protocol));
                }
                Replies::ByAgent => {
                    rules.servers.insert((dest.rip(), key.protocol));
                    rules.locals.remove(&key.vip.addr);
                }
            }
        }
    }
    rules
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
