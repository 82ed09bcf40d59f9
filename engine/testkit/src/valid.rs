//! Whether a frame's checksums are right, summed from scratch.

use lb_wire::{IpHeader, PROTOCOL_UDP};

use crate::packet::ones_complement_sum;

/// Whether the IP header's checksum and that of the TCP segment or UDP datagram in it are right. What is neither has none that
/// could be wrong; a UDP checksum of none is right over IPv4.
pub fn checksums_hold(frame: &[u8]) -> bool {
    let parsed = match lb_wire::parse(frame) {
        Ok(parsed) => parsed,
        Err(lb_wire::Refused::Malformed) => return false,
        Err(_) => return true,
    };
    let segment = &frame[usize::from(parsed.l4)..usize::from(parsed.end)];
    let mut summed = match parsed.ip {
        IpHeader::V4(ip) => [ip.source, ip.destination].concat(),
        IpHeader::V6(ip) => [ip.source, ip.destination].concat(),
    };
    let is_v4 = summed.len() == 8;
    if is_v4 && parsed.protocol == PROTOCOL_UDP && segment[6..8] == [0, 0] {
        return true;
    }
    summed.extend([0, parsed.protocol]);
    summed.extend((segment.len() as u16).to_be_bytes());
    summed.extend(segment);
    ones_complement_sum(&summed) == 0xffff
}
