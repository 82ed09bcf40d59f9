//! Whether a frame's checksums are right, summed from scratch.

use lb_wire::{IcmpError, IpHeader, PROTOCOL_ICMP_V6, PROTOCOL_UDP};

use crate::packet::ones_complement_sum;

/// Whether the IP header's checksum and that of the TCP segment, UDP datagram or ICMP error in it are right. What is none of
/// these has none that could be wrong; a UDP checksum of none is right over IPv4.
pub fn checksums_hold(frame: &[u8]) -> bool {
    let parsed = match lb_wire::parse(frame) {
        Ok(parsed) => parsed,
        Err(lb_wire::Refused::Malformed) => return false,
        Err(_) => return lb_wire::icmp_error(frame).is_none_or(|error| icmp_holds(frame, &error)),
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

fn icmp_holds(frame: &[u8], error: &IcmpError<'_>) -> bool {
    let message = &frame[usize::from(error.l4)..usize::from(error.end)];
    let mut summed = match error.ip {
        IpHeader::V4(_) => Vec::new(),
        IpHeader::V6(ip) => {
            let len = (message.len() as u32).to_be_bytes();
            let addresses = [ip.source, ip.destination].concat();
            [&addresses[..], &len, &[0, 0, 0, PROTOCOL_ICMP_V6]].concat()
        }
    };
    summed.extend(message);
    ones_complement_sum(&summed) == 0xffff
}
