//! The way out: a packet's Ethernet header and its verdict.
//!
//! Ends: [`DropReason::NoRoute`], [`DropReason::TooBig`].

use lb_model::{DropReason, Packet, Resolution, Verdict};
use lb_wire::{EthernetHeader, Ipv4Header};

/// Gives the packet its Ethernet header and its verdict; also for a packet that has waited for its next hop.
#[cold]
pub fn route(packet: &mut Packet, way: Resolution) {
    let len = packet.ip_len();
    packet.verdict = Some(match way {
        Resolution::Reachable(hop) => {
            let mtu = hop.mtu.min(packet.path_mtu);
            let in_one = len <= mtu && packet.reassembled.is_none();
            packet.split = (!in_one).then_some(mtu);
            let fits = len <= mtu || may_be_split(packet);
            match EthernetHeader::of_mut(packet.frame.bytes_mut()) {
                _ if !fits => Verdict::Drop(DropReason::TooBig),
                Some(ethernet) => {
                    ethernet.set_ends(hop.ends.octets());
                    Verdict::Tx(hop.egress)
                }
                None => Verdict::Drop(DropReason::Malformed),
            }
        }
        Resolution::Unresolved { .. } => Verdict::Hold,
        Resolution::Unreachable => Verdict::Drop(DropReason::NoRoute),
    });
}

/// Whether the packet may leave in fragments: IPv4 without "don't fragment", what came in fragments, and IPv6 if it is
/// we who send it.
fn may_be_split(packet: &Packet) -> bool {
    let l3 = usize::from(packet.headers.l3);
    let ip = Ipv4Header::at(packet.frame.bytes(), l3);
    match ip.filter(|ip| ip.version() == 4) {
        Some(ip) => !ip.dont_fragment() || packet.reassembled.is_some(),
        None => packet.encapsulated || packet.reassembled.is_some(),
    }
}
