//! The Internet checksum (RFC 1071), mended in place as fields change (RFC 1624).

use zerocopy::network_endian::U16;
use zerocopy::transmute_ref;

use crate::{Ipv4Header, Ipv6Header, PROTOCOL_TCP, PROTOCOL_UDP};

/// What changed in the words a checksum covers; apply it to every checksum that covers them.
///
/// RFC 1624 equation 3: `HC' = ~(~HC + ~m + m')`; the sums `~m + m'` of all changed words are collected first. Two words
/// at once are as good as one after the other: 2^16 counts as 1, so the upper one comes back down with the carries. And words
/// as they lie are as good as their values, as long as all are such (RFC 1071 section 2 B).
#[derive(Clone, Copy, Default, Debug)]
#[must_use]
pub struct Change(u64);

impl Change {
    /// A 16-bit word at an even offset changed.
    #[inline]
    pub fn word(self, old: u16, new: u16) -> Change {
        Change(self.0 + u64::from(!old.to_be()) + u64::from(new.to_be()))
    }

    /// The byte at `offset` changed, counted from an even place.
    pub fn byte(self, offset: usize, old: u8, new: u8) -> Change {
        let shift = if offset.is_multiple_of(2) { 8 } else { 0 };
        self.word(u16::from(old) << shift, u16::from(new) << shift)
    }

    /// Words came in, at an even place; where nothing was, nothing is taken off.
    #[inline(always)]
    pub fn added<const LENGTH: usize>(self, bytes: &[u8; LENGTH]) -> Change {
        const { assert!(LENGTH.is_multiple_of(4), "four bytes are summed at a time") };
        Change(self.0 + words(bytes))
    }

    /// Something else changed as well.
    #[inline]
    pub fn and(self, other: Change) -> Change {
        Change(self.0 + other.0)
    }

    /// An IPv4 address changed.
    #[inline]
    pub fn address_v4(self, old: [u8; 4], new: [u8; 4]) -> Change {
        let (old, new) = (u32::from_ne_bytes(old), u32::from_ne_bytes(new));
        Change(self.0 + u64::from(!old) + u64::from(new))
    }

    /// An IPv6 address changed.
    #[inline]
    pub fn address_v6(self, old: [u8; 16], new: [u8; 16]) -> Change {
        let inverted = (!u128::from_ne_bytes(old)).to_ne_bytes();
        Change(self.0 + words(&inverted) + words(&new))
    }

    /// The checksum after the change.
    #[inline]
    #[must_use]
    pub fn apply(self, checksum: U16) -> U16 {
        let old = u16::from_ne_bytes(checksum.to_bytes());
        U16::from_bytes((!fold(u64::from(!old) + self.0)).to_ne_bytes())
    }

    /// The UDP checksum after the change: none stays none, and zero is sent as all ones (RFC 768).
    ///
    /// Over IPv6 there is no none: see [`compute_udp_v6`].
    #[inline]
    #[must_use]
    pub fn apply_udp(self, checksum: U16) -> U16 {
        if checksum == U16::ZERO {
            checksum
        } else {
            not_zero(self.apply(checksum))
        }
    }
}

/// The one's complement sum of `bytes`, not folded; an odd last byte counts as the upper half of a word.
///
/// Sums of sums are sums, as long as every part but the last is of even length.
pub fn sum(bytes: &[u8]) -> u64 {
    // The sum is the same in either byte order but for a final swap (RFC 1071 section 2 B), so that words of the
    // machine's own order, four bytes at a time, do.
    let mut words = bytes.chunks_exact(4);
    let mut sum: u64 = words
        .by_ref()
        .map(|w| u64::from(u32::from_ne_bytes([w[0], w[1], w[2], w[3]])))
        .sum();
    let mut rest = [0; 4];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    sum += u64::from(u32::from_ne_bytes(rest));
    u64::from(u16::from_be(fold(sum)))
}

/// Folds the carries of a sum back into 16 bits.
#[inline]
pub fn fold(sum: u64) -> u16 {
    // The upper half of a number and its halves exchanged is the sum of both halves and of the carry of that sum.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The sum of a few words as they lie in memory: not folded, and its bytes are to be swapped after that where the machine's
/// order is not the network's. Of a length that is known and small it is a handful of additions.
#[inline(always)]
pub(crate) fn words<const LENGTH: usize>(bytes: &[u8; LENGTH]) -> u64 {
    let words = bytes.as_chunks::<4>().0.iter();
    words.map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

/// Whether the checksum of an IPv4 header without options is right.
#[inline(always)]
pub(crate) fn holds_without_options(header: &Ipv4Header) -> bool {
    let header: &[u8; Ipv4Header::LEN] = transmute_ref!(header);
    // What folds to all ones, in either order of bytes, is a multiple of that, and no header is zero. A compiler knows how
    // to tell a multiple by one multiplication.
    words(header).is_multiple_of(0xffff)
}

/// The checksum of an IPv4 header without options, whose own is zero.
#[inline(always)]
pub(crate) fn of_header_without_options(header: &Ipv4Header) -> U16 {
    let header: &[u8; Ipv4Header::LEN] = transmute_ref!(header);
    U16::from_bytes((!fold(words(header))).to_ne_bytes())
}

/// The sum of the pseudo-header of a TCP or UDP segment of `len` bytes, not folded.
#[inline]
pub fn pseudo_header_v4(ip: &Ipv4Header, len: u16) -> u64 {
    let addresses =
        u64::from(u32::from_be_bytes(ip.source)) + u64::from(u32::from_be_bytes(ip.destination));
    addresses + u64::from(ip.protocol) + u64::from(len)
}

/// The sum of the pseudo-header of a TCP or UDP segment of `len` bytes, not folded (RFC 8200 section 8.1).
#[inline]
pub fn pseudo_header_v6(ip: &Ipv6Header, protocol: u8, len: u16) -> u64 {
    let addresses = fold(words(&ip.source) + words(&ip.destination));
    u64::from(u16::from_be(addresses)) + u64::from(protocol) + u64::from(len)
}

/// Completes a transport checksum that the sender left to a device: a sender on the same host, or in a container
/// behind veth, puts just the folded sum of the pseudo-header there and expects the hardware to add the rest.
///
/// `packet` is one IPv4 packet without Ethernet padding, `l4` the offset of its TCP or UDP header. An intact packet
/// whose checksum happens to equal that sum is given the same value again. None (zero) is never taken for partial: no
/// pseudo-header sums to zero.
#[inline]
pub fn complete_partial_v4(packet: &mut [u8], l4: usize) {
    let Some(len) = segment_len(packet, l4) else {
        return;
    };
    if let Some(ip) = Ipv4Header::at(packet, 0) {
        let (pseudo, protocol) = (pseudo_header_v4(ip, len), ip.protocol);
        complete(&mut packet[l4..], protocol, pseudo);
    }
}

/// [`complete_partial_v4`] for an IPv6 packet. The transport protocol is named because the fixed header may name an
/// extension header instead.
#[inline]
pub fn complete_partial_v6(packet: &mut [u8], l4: usize, protocol: u8) {
    let Some(len) = segment_len(packet, l4) else {
        return;
    };
    if let Some(ip) = Ipv6Header::at(packet, 0) {
        let pseudo = pseudo_header_v6(ip, protocol, len);
        complete(&mut packet[l4..], protocol, pseudo);
    }
}

/// Gives a UDP datagram its checksum, computed anew; `packet` and `l4` are as for [`complete_partial_v4`].
///
/// Over IPv6 a checksum of zero is not none but an error (RFC 8200 section 8.1), which cannot be mended as addresses
/// change.
pub fn compute_udp_v6(packet: &mut [u8], l4: usize) {
    let Some(len) = segment_len(packet, l4) else {
        return;
    };
    if let Some(ip) = Ipv6Header::at(packet, 0) {
        let pseudo = pseudo_header_v6(ip, PROTOCOL_UDP, len);
        compute(&mut packet[l4..], PROTOCOL_UDP, pseudo);
    }
}

#[inline]
fn segment_len(packet: &[u8], l4: usize) -> Option<u16> {
    u16::try_from(packet.len().checked_sub(l4)?).ok()
}

/// The payload is read only if the checksum is a partial one: the sum of the pseudo-header, folded.
#[inline]
fn complete(segment: &mut [u8], protocol: u8, pseudo: u64) {
    let Some(field) = checksum_field(protocol) else {
        return;
    };
    let Some(&[high, low]) = segment.get(field..field + 2) else {
        return;
    };
    let checksum = u16::from_be_bytes([high, low]);
    if checksum != 0 && checksum == fold(pseudo) {
        compute(segment, protocol, pseudo);
    }
}

/// Whether a segment's checksum is no more than the sum of its pseudo-header; of that these are the addresses' words, as
/// they lie.
#[inline(always)]
pub(crate) fn is_partial(checksum: U16, addresses: u64, protocol: u8, len: u16) -> bool {
    let checksum = u16::from_ne_bytes(checksum.to_bytes());
    let others = u64::from(u16::from(protocol).to_be()) + u64::from(len.to_be());
    // Zero apart, two numbers of 16 bits that are the same modulo all ones are the same.
    checksum != 0 && (addresses + others + u64::from(!checksum)).is_multiple_of(0xffff)
}

#[cold]
fn compute(segment: &mut [u8], protocol: u8, pseudo: u64) {
    let Some(field) = checksum_field(protocol).filter(|field| field + 2 <= segment.len()) else {
        return;
    };
    segment[field..field + 2].copy_from_slice(&[0, 0]);
    let full = U16::new(!fold(pseudo + sum(segment)));
    let full = if protocol == PROTOCOL_UDP {
        not_zero(full)
    } else {
        full
    };
    segment[field..field + 2].copy_from_slice(&full.to_bytes());
}

#[inline]
fn checksum_field(protocol: u8) -> Option<usize> {
    match protocol {
        PROTOCOL_TCP => Some(16),
        PROTOCOL_UDP => Some(6),
        _ => None,
    }
}

#[inline]
fn not_zero(checksum: U16) -> U16 {
    if checksum == U16::ZERO {
        U16::new(0xffff)
    } else {
        checksum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1071_example_sums_to_ddf2() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(fold(sum(&bytes[..4]) + sum(&bytes[4..])), 0xddf2);
        assert_eq!(fold(sum(&[0x12])), 0x1200);
        assert_eq!(fold(sum(&[0x12, 0x34, 0x56])), 0x6834);
        assert_eq!(fold(sum(&[])), 0);
    }

    #[test]
    fn rfc_1624_example_mends_to_zero() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285; equation 3 gives 0x0000 where others give 0xffff.
        assert_eq!(
            Change::default()
                .word(0x5555, 0x3285)
                .apply(U16::new(0xdd2f)),
            U16::ZERO
        );
    }

    #[test]
    fn a_udp_checksum_never_becomes_none_and_none_stays_none() {
        let change = Change::default().word(0x5555, 0x3285);
        assert_eq!(change.apply_udp(U16::new(0xdd2f)), U16::new(0xffff));
        assert_eq!(change.apply_udp(U16::ZERO), U16::ZERO);
    }

    #[test]
    fn an_ipv6_address_changes_eight_words() {
        let old: [u8; 16] = std::array::from_fn(|at| at as u8 * 17);
        let new: [u8; 16] = std::array::from_fn(|at| 200 - at as u8);
        let before = U16::new(!fold(sum(&old)));
        let after = Change::default().address_v6(old, new).apply(before);
        assert_eq!(after, U16::new(!fold(sum(&new))));
    }

    #[test]
    fn mending_agrees_with_summing_again() {
        let mut words = [
            0x4500u16, 0x0073, 0, 0x4000, 0x4011, 0, 0xc0a8, 0x0001, 0xc0a8, 0x00c7,
        ];
        let summed = |words: &[u16; 10]| !fold(words.iter().map(|w| u64::from(*w)).sum());
        let mut seed = 1u32;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let before = U16::new(summed(&words));
            let at = (seed >> 8) as usize % 10;
            let (old, new) = (words[at], (seed >> 16) as u16);
            words[at] = new;
            assert_eq!(
                Change::default().word(old, new).apply(before).get(),
                summed(&words)
            );
        }
    }
}
