//! Stage 4: the conn that a packet belongs to.
//!
//! Ends: [`PuntReason::NotOurs`], for what is neither to a service nor of a conn.

use lb_conn::ConnTable;
use lb_model::{Batch, PuntReason, Verdict};

pub fn run(batch: &mut Batch, conns: &ConnTable) {
    for packet in batch.open_mut() {
        packet.hit = conns.find(&packet.flow);
        if packet.hit.is_none() && packet.service.is_none() {
            packet.verdict = Some(Verdict::Punt(PuntReason::NotOurs));
        }
    }
}
