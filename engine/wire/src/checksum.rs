//! The Internet checksum (RFC 1071), mended in place as fields change (RFC 1624).

use zerocopy::network_endian::U16;

use crate::{Ipv4Header, PROTOCOL_TCP, PROTOCOL_UDP};

/// What changed in the words a checksum covers; apply it to every checksum that covers them.
///
/// RFC 1624 equation 3: `HC' = ~(~HC + ~m + m')`; the sums `~m + m'` of all changed words are collected first.
#[derive(Clone, Copy, Default, Debug)]
#[must_use]
pub struct Change(u32);

impl Change {
    /// A 16-bit word at an even offset changed.
    pub fn word(self, old: u16, new: u16) -> Change {
        Change(self.0 + u32::from(!old) + u32::from(new))
    }

    /// An IPv4 address changed.
    pub fn address_v4(self, old: [u8; 4], new: [u8; 4]) -> Change {
        self.word(
            u16::from_be_bytes([old[0], old[1]]),
            u16::from_be_bytes([new[0], new[1]]),
        )
        .word(
            u16::from_be_bytes([old[2], old[3]]),
            u16::from_be_bytes([new[2], new[3]]),
        )
    }

    /// The checksum after the change.
    #[must_use]
    pub fn apply(self, checksum: U16) -> U16 {
        U16::new(!fold(u64::from(!checksum.get()) + u64::from(self.0)))
    }

    /// The UDP checksum after the change: none stays none, and zero is sent as all ones (RFC 768).
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
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The sum of the pseudo-header of a TCP or UDP segment of `len` bytes, not folded.
pub fn pseudo_header_v4(ip: &Ipv4Header, len: u16) -> u64 {
    sum(&ip.source) + sum(&ip.destination) + u64::from(ip.protocol) + u64::from(len)
}

/// Completes a transport checksum that the sender left to a device: a sender on the same host, or in a container
/// behind veth, puts just the folded sum of the pseudo-header there and expects the hardware to add the rest.
///
/// `packet` is one IPv4 packet without Ethernet padding, `l4` the offset of its TCP or UDP header. An intact packet
/// whose checksum happens to equal that sum is given the same value again.
pub fn complete_partial_v4(packet: &mut [u8], l4: usize) {
    let Some(ip) = Ipv4Header::at(packet, 0) else {
        return;
    };
    let field = l4
        + match ip.protocol {
            PROTOCOL_TCP => 16,
            PROTOCOL_UDP => 6,
            _ => return,
        };
    let is_udp = ip.protocol == PROTOCOL_UDP;
    let Some(segment_len) = packet
        .len()
        .checked_sub(l4)
        .and_then(|n| u16::try_from(n).ok())
    else {
        return;
    };
    let pseudo = pseudo_header_v4(ip, segment_len);
    let partial = fold(pseudo).to_be_bytes();
    if packet.get(field..field + 2) != Some(&partial[..]) || (is_udp && partial == [0, 0]) {
        return;
    }
    packet[field..field + 2].copy_from_slice(&[0, 0]);
    let full = U16::new(!fold(pseudo + sum(&packet[l4..])));
    let full = if is_udp { not_zero(full) } else { full };
    packet[field..field + 2].copy_from_slice(&full.to_bytes());
}

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
