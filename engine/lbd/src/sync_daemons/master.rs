//! The master daemon: a round of its [`Teller`] every second, and its messages to the group.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lb::Engine;
use lb_ipvsadm::Daemon;

use super::heard::Heard;
use super::teller::Teller;

/// Between two looks at all conns: what a dead master has not told of is not older.
const ROUND: Duration = Duration::from_secs(1);

/// Messages sent at once, and the pause after them: some 30 Mbyte a second at most, where a backup's socket keeps up.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(3);

/// Until told to stop.
pub fn run(daemon: &Daemon, engine: &Engine, heard: &Heard, socket: &UdpSocket, stop: &AtomicBool) {
    tracing::info!(
        "master sync daemon: telling of conns on {}",
        daemon.interface
    );
    let mut teller = Teller::new(engine, heard, daemon);
    let mut mouth = Mouth {
        socket,
        sent: 0,
        is_failing: false,
    };
    let goes_on = || !stop.load(Ordering::Relaxed);
    while goes_on() {
        let round = Instant::now();
        teller.round(heard.now(), &mut |message| mouth.say(&message), &goes_on);
        while round.elapsed() < ROUND && goes_on() {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

struct Mouth<'a> {
    socket: &'a UdpSocket,
    /// Messages since the last pause.
    sent: usize,
    is_failing: bool,
}

impl Mouth<'_> {
    fn say(&mut self, message: &[u8]) {
        match self.socket.send(message) {
            // A message that is lost here is as one lost on the way.
            Err(error) if !self.is_failing => {
                tracing::warn!("master sync daemon: {error}");
                self.is_failing = true;
            }
            Err(_) => {}
            Ok(_) => self.is_failing = false,
        }
        self.sent += 1;
        if self.sent.is_multiple_of(BURST) {
            thread::sleep(PAUSE);
        }
    }
}
