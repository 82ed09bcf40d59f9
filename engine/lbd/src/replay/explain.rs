//! Why a packet went where it went, as a line of JSON.

use std::io::{self, Write};

use lb::{DropReason, Observed, PuntReason, Time, Verdict};
use serde::Serialize;

/// What was decided about one packet.
#[derive(Default, Serialize)]
pub struct Explanation {
    pub verdict: &'static str,
    pub reason: Option<&'static str>,
    service: Option<String>,
    mode: Option<&'static str>,
    scheduler: Option<String>,
    pub server: Option<String>,
    conn: &'static str,
}

#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    time: f64,
    interface: &'a str,
    #[serde(flatten)]
    explanation: &'a Explanation,
    out: &'a [u64],
}

impl Explanation {
    /// Of a packet at its end.
    pub fn of(observed: &Observed<'_>) -> Explanation {
        let (verdict, reason) = match observed.packet.verdict {
            Some(Verdict::Tx(_)) => ("tx", None),
            Some(Verdict::Punt(reason)) => ("pass", Some(reason.name())),
            Some(Verdict::Drop(reason)) => ("drop", Some(reason.name())),
            // It leaves with the fragment that makes its datagram whole.
            Some(Verdict::Join) => ("tx", Some("fragment.joined")),
            // Nobody answers in a replay, and there is one worker only.
            Some(Verdict::Hold | Verdict::Hand(_)) | None => {
                ("drop", Some(DropReason::NeighbourUnresolved.name()))
            }
        };
        Explanation {
            verdict,
            reason,
            service: observed.service.map(|service| service.id().to_string()),
            mode: observed.mode.map(|mode| mode.name()),
            scheduler: observed
                .service
                .map(|service| service.settings().scheduler_name.clone()),
            server: observed.conn.map(|conn| conn.dest().rip().to_string()),
            conn: match observed.conn {
                None => "none",
                Some(_) if observed.packet.opened => "new",
                Some(_) => "hit",
            },
        }
    }

    /// Of a packet for somebody else's interface, which a switch flooded.
    pub fn left_alone() -> Explanation {
        Explanation {
            verdict: "pass",
            reason: Some(PuntReason::NotOurs.name()),
            conn: "none",
            ..Explanation::default()
        }
    }

    /// Of a packet that is longer than any that a wire carries.
    pub fn too_long() -> Explanation {
        Explanation {
            verdict: "drop",
            reason: Some(DropReason::Malformed.name()),
            conn: "none",
            ..Explanation::default()
        }
    }

    /// Writes the line of packet `index`, whose frames stand at the places `out` of the output.
    pub fn write(
        &self,
        to: &mut impl Write,
        index: u64,
        time: Time,
        interface: &str,
        out: &[u64],
    ) -> io::Result<()> {
        let line = Line {
            index,
            time: time.as_nanos() as f64 / 1e9,
            interface,
            explanation: self,
            out,
        };
        serde_json::to_writer(&mut *to, &line)?;
        to.write_all(b"\n")
    }
}
