//! ipvsadm's command lines.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use lb_control::{IpvsadmLine, IpvsadmRequest};
use lb_ipvsadm::Streams;

use super::office::{Office, Peer};
use super::refusal::Body;
use super::stream::{self, LINES, PIECE, Pieces};
use crate::administration::Administration;

/// A command line of ipvsadm 1.31
///
/// The answer is what it prints, as it comes, and then its exit code: one JSON object a line.
#[utoipa::path(
    post,
    path = "/v1/ipvsadm",
    request_body = IpvsadmRequest,
    responses((status = 200, body = IpvsadmLine, content_type = "application/x-ndjson"))
)]
pub async fn ipvsadm(
    State(office): State<Arc<Office>>,
    Extension(peer): Extension<Peer>,
    Body(request): Body<IpvsadmRequest>,
) -> Response {
    tracing::info!("{peer}: ipvsadm {}", request.arguments.join(" "));
    stream::answer(LINES, move |lines| {
        // The client has gone away if this fails, and what it asked for is done as far as it is.
        let _ = run(&office, &request, lines);
    })
}

fn run(office: &Office, request: &IpvsadmRequest, lines: &Pieces) -> io::Result<()> {
    let words: Vec<&str> = request.arguments.iter().map(String::as_str).collect();
    let answer = RefCell::new(Answer {
        lines,
        pending: Vec::new(),
        of: Of::Output,
    });
    let mut streams = Streams {
        input: &mut request.input.as_bytes(),
        output: &mut Part(&answer, Of::Output),
        errors: &mut Part(&answer, Of::Errors),
    };
    let conns = office.conns();
    let mut administration = Administration::new(&office.engine, &conns, &office.sync_daemons);
    let code = lb_ipvsadm::run(&words, &mut administration, &office.names, &mut streams)?;
    // The command is in force before it is said to have been done.
    drop(administration);
    answer.borrow_mut().send()?;
    lines.line(&IpvsadmLine::Exit(code))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Output,
    Errors,
}

/// Output and errors in the order in which they are written.
struct Answer<'a> {
    lines: &'a Pieces,
    pending: Vec<u8>,
    of: Of,
}

impl Answer<'_> {
    fn write(&mut self, of: Of, bytes: &[u8]) -> io::Result<()> {
        if self.of != of {
            self.send()?;
            self.of = of;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE && self.pending.ends_with(b"\n") {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        self.lines.line(&match self.of {
            Of::Output => IpvsadmLine::Output(text),
            Of::Errors => IpvsadmLine::Errors(text),
        })
    }
}

struct Part<'a>(&'a RefCell<Answer<'a>>, Of);

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(self.1, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
