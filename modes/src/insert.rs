//! Making a packet longer from within.

use lb_model::{HopCache, Packet, Resolution};
use lb_wire::checksum::Change;
use lb_wire::{Ipv4Header, Ipv6Header};

/// Why nothing was inserted; the packet is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// Puts `bytes` into a packet at `at`, behind the fixed part of its IP header, and mends the IP header's length and checksum.
/// Whatever else counts lengths, or is a checksum over them, is the caller's.
///
/// What follows `at` moves: a whole segment, but only a conn's first packets grow.
pub fn insert(packet: &mut Packet, at: usize, bytes: &[u8]) -> Result<(), NoRoom> {
    let (l3, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.end),
    );
    let new_end = end + bytes.len();
    // Neither the length field of IP nor an offset of ours counts further.
    if new_end > usize::from(u16::MAX) || !packet.frame.resize(new_end) {
        return Err(NoRoom);
    }
    let frame = packet.frame.bytes_mut();
    frame.copy_within(at..end, at + bytes.len());
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    let added = bytes.len() as u16;
    if packet.flow.source.addr.is_v4() {
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
pub fn fits(packet: &Packet, added: usize, hops: &mut HopCache) -> bool {
    match hops.resolve(packet.route_to) {
        Resolution::Reachable(hop) => {
            usize::from(packet.headers.end - packet.headers.l3) + added <= hop.mtu as usize
        }
        // It waits, or goes nowhere.
        Resolution::Unresolved { .. } | Resolution::Unreachable => true,
    }
}

/// What it does to a checksum that covers them when `bytes`, at an even place and of even length, come in.
pub fn words_added(change: Change, bytes: &[u8]) -> Change {
    let words = bytes.chunks_exact(2);
    words.fold(change, |change, word| {
        change.word(0, u16::from_be_bytes([word[0], word[1]]))
    })
}
