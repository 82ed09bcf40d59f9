//! Stage 2: offsets and flow keys, in one pass over each frame.
//!
//! Ends: [`DropReason::Malformed`], [`PuntReason::Fragment`], [`PuntReason::NotBalanced`].

use lb_model::{
    Addr, Batch, DropReason, Endpoint, FlowKey, Headers, Protocol, PuntReason, Verdict,
};
use lb_wire::{IpHeader, Refused};

pub fn run(batch: &mut Batch) {
    for packet in batch.open_mut() {
        match lb_wire::parse(packet.frame.bytes()) {
            Ok(parsed) => {
                packet.headers = Headers {
                    l3: parsed.l3,
                    l4: parsed.l4,
                    end: parsed.end,
                    tcp_flags: parsed.tcp_flags,
                };
                let protocol = if parsed.protocol == lb_wire::PROTOCOL_TCP {
                    Protocol::Tcp
                } else {
                    Protocol::Udp
                };
                let (source, destination) = match parsed.ip {
                    IpHeader::V4(ip) => (Addr::v4(ip.source), Addr::v4(ip.destination)),
                    IpHeader::V6(ip) => (Addr::v6(ip.source), Addr::v6(ip.destination)),
                };
                packet.flow = FlowKey {
                    source: Endpoint::new(source, parsed.source_port),
                    destination: Endpoint::new(destination, parsed.destination_port),
                    protocol,
                };
            }
            Err(refused) => {
                packet.verdict = Some(match refused {
                    Refused::Malformed => Verdict::Drop(DropReason::Malformed),
                    Refused::Fragment => Verdict::Punt(PuntReason::Fragment),
                    Refused::Other => Verdict::Punt(PuntReason::NotBalanced),
                });
            }
        }
    }
}
