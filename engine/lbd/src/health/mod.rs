//! Health checks: a thread that asks servers, and changes what they may do by what it finds.
//!
//! The thread knows the engine and nobody's packets. What it is to do is the [`HealthPlan`] of the file in force; which
//! servers a service has it looks up after every change of the table, so servers that somebody typed are checked like
//! those of the file.

mod book;
mod passive;
mod supervisor;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lb::{Config, Engine, ServiceId};
use lb_checks::ServiceHealth;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

pub use book::{Book, ServerEntry};
use supervisor::Supervisor;

/// The checks of each service that has any.
pub type HealthPlan = BTreeMap<ServiceId, ServiceHealth>;

/// The thread; it ends when this goes.
pub struct Health {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and others see of each other.
#[derive(Default)]
struct Shared {
    plan: Mutex<HealthPlan>,
    book: Mutex<Book>,
    /// Something about the services, the plan or the end of it all is new.
    changed: Notify,
    stopping: AtomicBool,
}

impl Health {
    /// Checks the servers of `engine` from now on, as `plan` says; returns when all of them are in the book.
    pub fn start(engine: Arc<Engine>, plan: HealthPlan) -> io::Result<Health> {
        let shared = Arc::new(Shared {
            plan: Mutex::new(plan),
            ..Shared::default()
        });
        // As much as the plan may change later: there is no thread to be started then.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let seen = Arc::clone(&shared);
        engine.on_change(move || seen.changed.notify_one());
        let seen = Arc::clone(&shared);
        let (begun, beginning) = mpsc::channel();
        let work = move || runtime.block_on(watch(engine, &seen, begun));
        let thread = thread::Builder::new()
            .name("lbd-checks".into())
            .spawn(work)?;
        // Nothing is ever sent: it ends when the other half goes.
        let _ = beginning.recv();
        Ok(Health {
            shared,
            thread: Some(thread),
        })
    }

    /// What is to be checked, which stays as it is as long as this is held: for who changes the services and the plan
    /// together.
    pub fn plan(&self) -> MutexGuard<'_, HealthPlan> {
        self.shared.plan.lock()
    }

    /// The plan was changed.
    pub fn plan_changed(&self) {
        self.shared.changed.notify_one();
    }

    /// What was found out so far.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock()
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in there has ended the daemon already.
            let _ = thread.join();
        }
    }
}

/// Has servers held back that `plan` takes for bad until they have answered.
pub fn hold_back(config: &mut Config, plan: &HealthPlan) {
    for service in &mut config.services {
        let health = plan.get(&service.id);
        for server in &mut service.servers {
            server.held = health.is_some_and(|health| health.is_bad_at_first(server.rip));
        }
    }
}

async fn watch(engine: Arc<Engine>, shared: &Shared, begun: mpsc::Sender<Infallible>) {
    let mut supervisor = Supervisor::new(engine, shared);
    supervisor.follow();
    drop(begun);
    while !shared.stopping.load(Ordering::Relaxed) {
        let due = supervisor.due().unwrap_or(Duration::MAX / 4);
        tokio::select! {
            found = supervisor.watcher.next() => supervisor.found(found),
            () = shared.changed.notified() => supervisor.follow(),
            () = tokio::time::sleep(due) => supervisor.step(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lb::{Addr, Endpoint, Protocol, ServiceConfig};
    use lb_checks::{Check, Policy, Probe, State};

    use super::*;

    #[test]
    fn a_server_is_called_down_once_it_gets_nothing() {
        // Nobody listens there.
        let server = Endpoint::new(Addr::v4([127, 0, 0, 1]), 1);
        let vip = Endpoint::new(Addr::v4([192, 0, 2, 1]), 80);
        let service = ServiceConfig::new(vip, Protocol::Tcp, "rr", "nat").with_server(server, 10);
        let id = service.id;
        let engine = Engine::new(&Config::default().with_service(service)).expect("valid");
        let engine = Arc::new(engine);
        let health = Health::start(Arc::clone(&engine), HealthPlan::new()).expect("a thread");
        let state = move |shared: &Shared| shared.book.lock().servers[&(id, server)].state;
        let weight =
            move |engine: &Engine| engine.look(|table| table.members(id).expect("it is")[0].weight);

        let (changes, changed) = mpsc::channel();
        let (shared, table) = (Arc::downgrade(&health.shared), Arc::downgrade(&engine));
        engine.on_change(move || {
            let (shared, engine) = (shared.upgrade(), table.upgrade());
            let (shared, engine) = (shared.expect("it lives"), engine.expect("it lives"));
            // The test waits for no more than one.
            let _ = changes.send((weight(&engine), state(&shared)));
        });
        let check = Check {
            interval: Duration::from_millis(10),
            ..Check::new(Probe::Tcp)
        };
        let checked = ServiceHealth::new(check, Policy::default());
        health.plan().insert(id, checked);
        health.plan_changed();

        assert_eq!(changed.recv(), Ok((0, State::Up)));
        while state(&health.shared) == State::Up {
            thread::yield_now();
        }
        assert_eq!(weight(&engine), 0);
    }
}
