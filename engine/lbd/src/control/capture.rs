//! Packets of chosen flows, with what was decided about each as a comment.
//!
//! An observer on each worker copies frames into a bounded queue; without a capture there is no observer and nothing to
//! pay. A frame that finds the queue full is counted and left out: packets never wait for whoever reads the capture.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::Response;
use lb::{ConnFilter, ConnState, InterfaceId, Observed, Observer, Time, Verdict};
use lb_capture::{Interface, Record, Writer};
use lb_control::{CaptureQuery, ConnQuery};

use super::conns::filter;
use super::office::Office;
use super::refusal::{Query, Refused};
use super::stream::{self, Pieces};

/// Frames between the workers and the client.
const QUEUE: usize = 4096;

/// How soon it is noticed that the client has gone away.
const LOOK_UP: Duration = Duration::from_millis(200);

/// What was captured, as pcapng, until the client hangs up
#[utoipa::path(
    get,
    path = "/v1/capture",
    params(CaptureQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.tcpdump.pcap"))
)]
pub async fn capture(
    State(office): State<Arc<Office>>,
    Query(query): Query<CaptureQuery>,
) -> Result<Response, Refused> {
    let chosen = filter(&ConnQuery {
        protocol: query.protocol.clone(),
        client: query.client.clone(),
        service: query.service.clone(),
        server: query.server.clone(),
        ..ConnQuery::default()
    })?;
    Ok(stream::answer(
        "application/vnd.tcpdump.pcap",
        move |pieces| {
            let stop = Arc::new(AtomicBool::new(false));
            let lost = Arc::new(AtomicU64::new(0));
            let (queue, frames) = sync_channel(QUEUE);
            for asker in office.engine.askers() {
                let recorder = Recorder {
                    chosen,
                    drops: query.drops,
                    snap: query.snap.map_or(usize::MAX, |snap| snap as usize),
                    queue: queue.clone(),
                    lost: Arc::clone(&lost),
                    stop: Arc::clone(&stop),
                    epoch: 0,
                    waiting: Vec::new(),
                };
                asker
                    .ask(move |inside| inside.observers.push(Box::new(recorder.since(inside.now))));
            }
            drop(queue);
            // It fails when the client has gone away or is stuck.
            let _ = write(&office, &frames, query.count, pieces);
            stop.store(true, Ordering::Relaxed);
            let lost = lost.load(Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!("capture: {lost} frames left out: the client did not keep up");
            }
        },
    ))
}

fn write(
    office: &Office,
    frames: &Receiver<Captured>,
    count: Option<u64>,
    pieces: &Pieces,
) -> std::io::Result<()> {
    let mut writer = Writer::new(Vec::new())?;
    for name in office.engine.config().engine.interfaces {
        writer.add_interface(&Interface::ethernet(name))?;
    }
    let mut left = count.unwrap_or(u64::MAX);
    let mut writer = send(writer, pieces)?;
    while left > 0 && !pieces.is_abandoned() {
        let captured = match frames.recv_timeout(LOOK_UP) {
            Ok(captured) => captured,
            Err(RecvTimeoutError::Timeout) => continue,
            // There are no workers, or none any more.
            Err(RecvTimeoutError::Disconnected) => break,
        };
        left -= 1;
        let record = Record {
            interface: usize::from(captured.interface.0),
            time: captured.time,
            bytes: &captured.bytes,
            original_len: captured.original_len,
        };
        writer.write(&record, Some(&captured.comment))?;
        writer = send(writer, pieces)?;
    }
    Ok(())
}

/// Sends what was written so far; a writer that goes on from there.
fn send(mut writer: Writer<Vec<u8>>, pieces: &Pieces) -> std::io::Result<Writer<Vec<u8>>> {
    pieces.send(std::mem::take(writer.output_mut()))?;
    Ok(writer)
}

/// A frame as it was received or sent.
struct Captured {
    interface: InterfaceId,
    time: Time,
    bytes: Vec<u8>,
    original_len: u32,
    comment: String,
}

struct Recorder {
    chosen: ConnFilter,
    drops: bool,
    snap: usize,
    queue: SyncSender<Captured>,
    lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// Nanoseconds since 1970 at the worker's time zero.
    epoch: u64,
    /// Frames as they were received, by their positions in the batch, until it is known what becomes of them.
    waiting: Vec<(usize, Captured)>,
}

impl Recorder {
    /// The recorder for a worker whose clock shows `now`.
    fn since(self, now: Time) -> Recorder {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since_1970.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
        Recorder {
            epoch: nanos.saturating_sub(now.as_nanos()),
            ..self
        }
    }

    fn is_chosen(&self, seen: &Observed<'_>) -> bool {
        let none = ConnState::None;
        match seen.conn {
            Some(conn) => self.chosen.matches(&conn.flow(), conn.rip(), none),
            None => {
                let flow = &seen.packet.flow;
                self.chosen.server.is_none() && self.chosen.matches(flow, flow.destination, none)
            }
        }
    }

    fn frame(&self, seen: &Observed<'_>, interface: InterfaceId) -> Captured {
        let bytes = seen.packet.frame.bytes();
        Captured {
            interface,
            time: Time::from_nanos(self.epoch + seen.now.as_nanos()),
            bytes: bytes[..bytes.len().min(self.snap)].to_vec(),
            original_len: bytes.len() as u32,
            comment: String::new(),
        }
    }

    fn keep(&self, captured: Captured) {
        if self.queue.try_send(captured).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observer for Recorder {
    fn received(&mut self, seen: &Observed<'_>) {
        if seen.position == 0 {
            self.waiting.clear();
        }
        if self.is_chosen(seen) {
            let frame = self.frame(seen, seen.packet.ingress);
            self.waiting.push((seen.position, frame));
        }
    }

    fn ended(&mut self, seen: &Observed<'_>) {
        let Some(at) = self.waiting.iter().position(|(at, _)| *at == seen.position) else {
            return;
        };
        let (_, mut received) = self.waiting.swap_remove(at);
        let verdict = seen.packet.verdict;
        if self.drops && !matches!(verdict, Some(Verdict::Drop(_))) {
            return;
        }
        let decided = decided(seen);
        received.comment = format!("received; {decided}");
        self.keep(received);
        if let Some(Verdict::Tx(egress)) = verdict {
            let sent = Captured {
                comment: format!("sent; {decided}"),
                ..self.frame(seen, egress)
            };
            self.keep(sent);
        }
    }

    fn is_done(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What was decided about a packet, in a line.
fn decided(seen: &Observed<'_>) -> String {
    let mut text = match seen.packet.verdict {
        Some(Verdict::Tx(_)) => "tx".to_owned(),
        Some(Verdict::Punt(reason)) => format!("pass {reason}"),
        Some(Verdict::Drop(reason)) => format!("drop {reason}"),
        Some(Verdict::Hold) => "hold: the next hop's MAC is asked for".to_owned(),
        Some(Verdict::Hand(worker)) => format!("hand: its conn is worker {worker}'s"),
        Some(Verdict::Join) => "hold: waits for the rest of its datagram".to_owned(),
        None => "open".to_owned(),
    };
    if let Some(service) = seen.service {
        text += &format!("; service {}", service.id());
    }
    if let Some(conn) = seen.conn {
        let mode = seen.mode.map_or("", |mode| mode.name());
        let new = if seen.packet.opened { "new" } else { "known" };
        text += &format!("; {new} conn to {} by {mode}", conn.rip());
    }
    text
}
