//! The kernel's tables as the rest of the engine sees them.

use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use lb_model::{Addr, NextHops};
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use crate::follow::{Command, Follower};
use crate::{NetlinkError, Resolver};

/// Follows the kernel's links, routes and neighbours on a thread of its own, until dropped.
///
/// It looks at the network namespace of the thread that starts it.
pub struct Kernel {
    published: Arc<Published>,
    resolver: Resolver,
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Kernel {
    /// Reads all tables for `interfaces`, in the configuration's order, and follows them from now on.
    ///
    /// # Errors
    ///
    /// If one of the interfaces does not exist or the kernel cannot be asked.
    pub fn start(interfaces: &[String]) -> Result<Kernel, NetlinkError> {
        let published = Arc::new(Published::default());
        let (resolver, requests) = Resolver::new();
        let (commands, inbox) = mpsc::unbounded_channel();
        let (report, started) = std_mpsc::sync_channel(1);
        let names = interfaces.to_vec();
        let out = Arc::clone(&published);
        let thread = std::thread::Builder::new()
            .name("lb-netlink".into())
            .spawn(move || run(&names, out, requests, inbox, report))
            .map_err(NetlinkError::refused("start a thread"))?;
        let kernel = Kernel {
            published,
            resolver,
            commands,
            thread: Some(thread),
        };
        match started.recv() {
            Ok(result) => result.map(|()| kernel),
            Err(_) => Err(NetlinkError::refused("follow the kernel's tables")(
                std::io::Error::other("the thread ended"),
            )),
        }
    }

    /// Where every new state appears as a whole.
    pub fn next_hops(&self) -> Arc<ArcSwap<NextHops>> {
        Arc::clone(&self.published.hops)
    }

    /// Waits until the published state is another one than `seen`, but not longer than `patience`, and returns
    /// the state as it is then.
    pub fn changed(&self, seen: &Arc<NextHops>, patience: Duration) -> Arc<NextHops> {
        self.published.changed(seen, patience)
    }

    /// A handle to have unresolved neighbours looked for.
    pub fn resolver(&self) -> Resolver {
        self.resolver.clone()
    }

    /// Keeps the next hops towards `addresses` (the real servers) resolved from now on, in place of those given
    /// before: looked for at once, and looked at again whenever the kernel begins to doubt them.
    pub fn watch(&self, addresses: &[Addr]) {
        // It is refused only after the thread ended, which it does when we tell it to.
        let _ = self.commands.send(Command::Watch(addresses.to_vec()));
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // It panicked if this fails, and has said so.
            let _ = thread.join();
        }
    }
}

/// The latest state, and a bell that rings with every new one.
#[derive(Default)]
pub(crate) struct Published {
    hops: Arc<ArcSwap<NextHops>>,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Published {
    pub fn publish(&self, hops: NextHops) {
        let _held = self.lock.lock();
        self.hops.store(Arc::new(hops));
        self.bell.notify_all();
    }

    fn changed(&self, seen: &Arc<NextHops>, patience: Duration) -> Arc<NextHops> {
        let deadline = Instant::now() + patience;
        let mut held = self.lock.lock();
        loop {
            let now = self.hops.load_full();
            if !Arc::ptr_eq(seen, &now) || self.bell.wait_until(&mut held, deadline).timed_out() {
                return now;
            }
        }
    }
}

fn run(
    names: &[String],
    out: Arc<Published>,
    requests: mpsc::Receiver<crate::resolver::Key>,
    commands: mpsc::UnboundedReceiver<Command>,
    report: std_mpsc::SyncSender<Result<(), NetlinkError>>,
) {
    // If nobody takes the report, whoever started us is gone already.
    let tell = |result| drop(report.send(result));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NetlinkError::refused("start the event loop"));
    match runtime {
        Err(error) => tell(Err(error)),
        Ok(runtime) => runtime.block_on(async {
            match Follower::start(names, out).await {
                Err(error) => tell(Err(error)),
                Ok(follower) => {
                    tell(Ok(()));
                    follower.follow(requests, commands).await;
                }
            }
        }),
    }
}
