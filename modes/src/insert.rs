//! Making a packet longer from within.

use lb_model::{HopCache, Packet};
use lb_wire::checksum::Change;
use lb_wire::{Ipv4Header, Ipv6Header};

/// Why nothing was inserted; the packet is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// Puts `bytes` into a packet at `at`, behind the fixed part of its IP header, and mends the IP header's length and checksum.
/// Whatever else counts lengths, or is a checksum over them, is the caller's.
///
/// What follows `at` moves: a whole segment, but only a conn's first packets grow.
pub fn insert<const LENGTH: usize>(
    packet: &mut Packet,
    at: usize,
    bytes: &[u8; LENGTH],
) -> Result<(), NoRoom> {
    let (l3, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.end),
    );
    let new_end = end + LENGTH;
    // Neither the length field of IP nor an offset of ours counts further.
    if new_end > usize::from(u16::MAX) || !packet.frame.resize(new_end) {
        return Err(NoRoom);
    }
    let is_v4 = packet.is_v4();
    let frame = packet.frame.bytes_mut();
    frame.copy_within(at..end, at + LENGTH);
    frame[at..at + LENGTH].copy_from_slice(bytes);
    let added = LENGTH as u16;
    if is_v4 {
        if let Some(ip) = Ipv4Header::at_mut(frame, l3) {
            let (old, new) = (ip.total_len.get(), ip.total_len.get() + added);
            ip.total_len.set(new);
            ip.checksum = Change::default().word(old, new).apply(ip.checksum);
        }
    } else if let Some(ip) = Ipv6Header::at_mut(frame, l3) {
        ip.payload_len.set(ip.payload_len.get() + added);
    }
    packet.headers.end = new_end as u16;
    if at <= usize::from(packet.headers.l4) {
        packet.headers.l4 += added;
    }
    Ok(())
}

/// Whether the packet may grow by so much on its way.
#[inline(always)]
pub fn fits(packet: &Packet, added: usize, hops: &mut HopCache) -> bool {
    // Otherwise it waits, or goes nowhere.
    hops.reachable(packet.route_to)
        .is_none_or(|hop| packet.ip_len() as usize + added <= hop.mtu as usize)
}
