//! Tells of the conns of all workers.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lb::{ConnFilter, ConnRecord, Engine, MarkRule, Time, Timeouts};
use lb_ipvsadm::Daemon;
use lb_sync::{Method, Packer, State, SyncConn, Telling, flags};

use super::adopted::Adopted;

/// Between two looks at all conns: what a dead master has not told of is not older.
const ROUND: Duration = Duration::from_secs(1);

/// Conns of one round: what is more waits for the next, so that a flood of clients is none of messages.
const MOST_PER_ROUND: usize = 100_000;

/// Messages sent at once, and the pause after them: some 30 Mbyte a second at most, where a backup's socket keeps up.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(3);

/// Until told to stop.
pub fn run(
    daemon: &Daemon,
    engine: &Engine,
    adopted: &Adopted,
    socket: &UdpSocket,
    stop: &AtomicBool,
) {
    let began = Instant::now();
    let mut master = Master {
        engine,
        adopted,
        socket,
        telling: Telling::default(),
        packer: Packer::new(
            daemon.sync_id,
            usize::from(daemon.max_length.unwrap_or_default()),
        ),
        sent: 0,
        is_failing: false,
    };
    tracing::info!(
        "master sync daemon: telling of conns on {}",
        daemon.interface
    );
    while !stop.load(Ordering::Relaxed) {
        let round = Instant::now();
        master.round(Time::ZERO + began.elapsed(), stop);
        while round.elapsed() < ROUND && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

struct Master<'a> {
    engine: &'a Engine,
    adopted: &'a Adopted,
    socket: &'a UdpSocket,
    telling: Telling,
    packer: Packer,
    /// Messages since the last pause.
    sent: usize,
    is_failing: bool,
}

impl Master<'_> {
    fn round(&mut self, now: Time, stop: &AtomicBool) {
        let engine = self.engine;
        let (methods, marks, timeouts) = engine.look(|table| {
            let methods = table
                .modes()
                .iter()
                .map(|mode| Method::of_mode(mode.name()));
            (
                methods.collect::<Vec<_>>(),
                table.marks().to_vec(),
                table.timeouts().clone(),
            )
        });
        let mut left = MOST_PER_ROUND;
        self.telling.begin_round();
        engine.conns(ConnFilter::default(), &mut |record| {
            let method = methods.get(usize::from(record.mode)).copied().flatten();
            if let Some(method) = method {
                if left == 0 || self.adopted.has(&record.flow) {
                    self.telling.pass(&record.flow);
                } else if self.telling.meet(record.flow, record.state, now) {
                    left -= 1;
                    let conn = told(&record, method, &marks, &timeouts);
                    let full = self.packer.add(&conn);
                    self.send(full);
                }
            }
            !stop.load(Ordering::Relaxed)
        });
        self.telling.end_round();
        let rest = self.packer.take();
        self.send(rest);
    }

    fn send(&mut self, message: Option<Vec<u8>>) {
        let Some(message) = message else { return };
        match self.socket.send(&message) {
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

fn told(record: &ConnRecord, method: Method, marks: &[MarkRule], timeouts: &Timeouts) -> SyncConn {
    let state = State::of(record.state);
    let mut all = method as u32;
    if method != Method::Masquerading {
        all |= flags::NO_OUTPUT;
    }
    if !record.state.is_active() && record.state != lb::ConnState::Udp {
        all |= flags::INACTIVE;
    }
    let mark = marks.iter().find(|rule| rule.matches(&record.flow));
    SyncConn {
        protocol: record.flow.protocol,
        flags: all,
        state,
        client: record.flow.source,
        vip: record.flow.destination,
        server: record.rip,
        mark: mark.map_or(0, |rule| rule.mark),
        timeout_s: u32::try_from(timeouts.of(record.state).as_secs()).unwrap_or(u32::MAX),
    }
}
