//! The thread of one daemon.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use lb::Engine;
use lb_ipvsadm::{Daemon, Role};

use super::heard::Heard;
use super::{backup, master, multicast};

/// A daemon at work; dropped, it ends.
pub struct Thread {
    stopping: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Starts what `daemon` describes, which is complete; both daemons of a balancer share what was `heard`.
    ///
    /// # Errors
    ///
    /// If the group cannot be reached or joined on its interface.
    pub fn start(daemon: &Daemon, engine: Arc<Engine>, heard: Heard) -> io::Result<Thread> {
        let socket = match daemon.role {
            Role::Master => multicast::sender(daemon),
            Role::Backup => multicast::receiver(daemon),
        }?;
        // Without an address there is nothing that could come back.
        let own = multicast::own_address(daemon).ok();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let daemon = daemon.clone();
        let name = format!("lb-sync-{}", daemon.role.name());
        let handle = Builder::new().name(name).spawn(move || match daemon.role {
            Role::Master => master::run(&daemon, &engine, &heard, &socket, &stop),
            Role::Backup => backup::run(&daemon, &engine, &heard, &socket, own, &stop),
        })?;
        Ok(Thread {
            stopping,
            handle: Some(handle),
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(handle) = self.handle.take() {
            // A panic has been said, and ends lbd.
            let _ = handle.join();
        }
    }
}
