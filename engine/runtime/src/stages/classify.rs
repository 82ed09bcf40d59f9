//! Stage 4: of a packet without a conn, which virtual service it is addressed to. Most batches have none such.
//!
//! Ends: [`PuntReason::NotOurs`], for what is neither to a service nor of a conn; [`DropReason::UnknownReply`],
//! [`DropReason::BadOption`], [`DropReason::SourceRoute`].

use lb_model::{Batch, DropReason, Packet, Protocol, PuntReason, Verdict};
use lb_wire::TcpFlags;

use super::options;
use super::rewrite::take_hop;
use crate::snapshot::Snapshot;

pub fn run(batch: &mut Batch, snapshot: &Snapshot) {
    // Where the last packet went, as the next one often does, and which service that is.
    let mut last = None;
    for packet in batch.open_mut().filter(|packet| packet.hit.is_none()) {
        let to = (packet.flow.destination, packet.flow.protocol);
        packet.service = match last {
            Some((known, service)) if known == to => service,
            _ => snapshot.service_for(&packet.flow),
        };
        last = Some((to, packet.service));
        if packet.service.is_none() {
            packet.verdict = Some(stranger(packet, snapshot));
        }
        if options::has(packet) && packet.is_open() {
            packet.verdict = options::refuse(packet);
        }
    }
}

/// Neither to a service nor of a conn.
#[cold]
fn stranger(packet: &mut Packet, snapshot: &Snapshot) -> Verdict {
    let is_reset = packet.flow.protocol == Protocol::Tcp
        && TcpFlags(packet.headers.tcp_flags).has(TcpFlags::RST);
    if snapshot.settings().nat_icmp_send
        && !is_reset
        && snapshot.is_replying(&packet.flow)
        // As where the kernel forwards: the hop was counted before IPVS had a look.
        && take_hop(packet).is_some()
    {
        Verdict::Drop(DropReason::UnknownReply)
    } else {
        Verdict::Punt(PuntReason::NotOurs)
    }
}
