//! The backup daemon: brings a [`Listener`] what comes to the group.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lb::Engine;
use lb_ipvsadm::Daemon;

use super::heard::Heard;
use super::listener::Listener;

/// Until told to stop. `own` is the address that the master daemon beside it sends from.
pub fn run(
    daemon: &Daemon,
    engine: &Engine,
    heard: &Heard,
    socket: &UdpSocket,
    own: Option<IpAddr>,
    stop: &AtomicBool,
) {
    tracing::info!(
        "backup sync daemon: taking in conns on {}",
        daemon.interface
    );
    let mut listener = Listener::new(engine, heard, daemon.sync_id);
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            // A switch, or a bond of two cables, may send back what we sent. Our conns are not to become another's.
            Ok((_, from)) if Some(from.ip()) == own => {}
            Ok((len, _)) => listener.take(&buffer[..len], heard.now()),
            Err(error) if is_patience(error.kind()) => {}
            Err(error) => {
                listener.complain(error.to_string());
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn is_patience(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
