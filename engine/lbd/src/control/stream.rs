//! Answers that come as they are made.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use hyper::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// One JSON object a line.
pub const LINES: &str = "application/x-ndjson";

/// How long a client may take to read what fills the buffers between us; then it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pieces of an answer that may wait for the client.
const WAITING: usize = 4;

/// So many bytes of lines go in one piece.
pub const PIECE: usize = 32 << 10;

/// The writing end of an answer; for a thread that may block.
pub struct Pieces(mpsc::Sender<Vec<u8>>);

impl Pieces {
    /// One piece; an error if the client has gone away or is stuck.
    pub fn send(&self, piece: Vec<u8>) -> io::Result<()> {
        let sent = Handle::current().block_on(timeout(PATIENCE, self.0.send(piece)));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// One line.
    pub fn line(&self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.send(bytes)
    }

    /// Whether the client has gone away.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

/// Many lines, which go in larger pieces: a million of them would cost more to hand over than to write.
pub struct Lines<'a> {
    pieces: &'a Pieces,
    pending: Vec<u8>,
}

impl Lines<'_> {
    pub fn to(pieces: &Pieces) -> Lines<'_> {
        Lines {
            pieces,
            pending: Vec::new(),
        }
    }

    /// One line more; an error if the client has gone away or is stuck.
    pub fn put(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.pending, line)?;
        self.pending.push(b'\n');
        match self.pending.len() {
            PIECE.. => self.send(),
            _ => Ok(()),
        }
    }

    /// Sends what was not sent yet.
    pub fn send(&mut self) -> io::Result<()> {
        self.pieces.send(std::mem::take(&mut self.pending))
    }
}

/// An answer of this type that `write` writes, on a thread where it may block.
pub fn answer(
    content_type: &'static str,
    write: impl FnOnce(&Pieces) + Send + 'static,
) -> Response {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || write(&Pieces(sender)));
    let pieces = poll_fn(move |context| receiver.poll_recv(context));
    let body = Body::from_stream(pieces.map(Ok::<_, io::Error>));
    ([(CONTENT_TYPE, content_type)], body).into_response()
}
