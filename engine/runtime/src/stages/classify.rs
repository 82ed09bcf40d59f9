//! Stage 3: which virtual service a packet is addressed to. One to none may still be a reply.

use lb_model::Batch;

use crate::snapshot::Snapshot;

pub fn run(batch: &mut Batch, snapshot: &Snapshot) {
    for packet in batch.open_mut() {
        packet.service = snapshot.service_for(&packet.flow);
    }
}
