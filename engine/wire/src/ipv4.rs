//! IPv4, RFC 791.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{self, Change};
use crate::overlay;

/// The fixed part of an IPv4 header; options may follow it.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version 4 and the header length in 32-bit words.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Length of header and payload in bytes.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Reserved, DF, MF and the 13-bit fragment offset in units of 8 bytes.
    pub flags_offset: U16,
    /// Hops left.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// Checksum of the header with its options.
    pub checksum: U16,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

impl Ipv4Header {
    /// Length without options, in bytes.
    pub const LEN: usize = size_of::<Ipv4Header>();

    /// The bit of `flags_offset` that forbids routers to fragment the packet.
    pub const DONT_FRAGMENT: u16 = 0x4000;

    /// The header at `offset` of `frame`.
    #[inline(always)]
    pub fn at(frame: &[u8], offset: usize) -> Option<&Ipv4Header> {
        overlay::at(frame, offset)
    }

    /// The header at `offset` of `frame`, to be changed.
    #[inline(always)]
    pub fn at_mut(frame: &mut [u8], offset: usize) -> Option<&mut Ipv4Header> {
        overlay::at_mut(frame, offset)
    }

    /// The IP version that the header claims.
    #[inline]
    pub fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Length with options, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0xf) * 4
    }

    /// Whether the packet is a fragment, the first one included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.flags_offset.get() & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0
    }

    /// Whether the packet is a fragment other than the first, so that no transport header follows.
    pub fn is_later_fragment(&self) -> bool {
        self.flags_offset.get() & FRAGMENT_OFFSET != 0
    }

    /// Where in the packet's payload a fragment's part begins, in bytes.
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.flags_offset.get() & FRAGMENT_OFFSET) * 8
    }

    /// Whether there are more fragments behind this one.
    pub fn more_fragments(&self) -> bool {
        self.flags_offset.get() & MORE_FRAGMENTS != 0
    }

    /// Makes it the header of a fragment, but for its length and checksum.
    pub fn set_fragment(&mut self, offset: usize, more: bool, dont_fragment: bool) {
        let more = if more { MORE_FRAGMENTS } else { 0 };
        let dont_fragment = if dont_fragment {
            Ipv4Header::DONT_FRAGMENT
        } else {
            0
        };
        self.flags_offset = U16::new((offset / 8) as u16 | more | dont_fragment);
    }

    /// Whether routers must not fragment the packet.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.flags_offset.get() & Ipv4Header::DONT_FRAGMENT != 0
    }

    /// Takes one hop off the TTL, which has one, and mends the checksum (RFC 1141; kernel `ip_decrease_ttl`).
    #[inline]
    pub fn decrement_ttl(&mut self) {
        self.ttl = self.ttl.saturating_sub(1);
        // The TTL is the first byte of its word. All ones, which is what zero may be, goes on to zero.
        let hop = u16::from_ne_bytes([1, 0]);
        let checksum = u32::from(u16::from_ne_bytes(self.checksum.to_bytes())) + u32::from(hop);
        let checksum = checksum + u32::from(checksum >= 0xffff);
        self.checksum = U16::from_bytes((checksum as u16).to_ne_bytes());
    }

    /// Gives the header, which has no options, its checksum, computed anew.
    #[inline]
    pub fn compute_checksum(&mut self) {
        self.checksum = U16::ZERO;
        self.checksum = checksum::of_header_without_options(self);
    }

    /// Gives one hop back to the TTL and mends the checksum.
    pub fn increment_ttl(&mut self) {
        let old = u16::from_be_bytes([self.ttl, self.protocol]);
        self.ttl = self.ttl.saturating_add(1);
        let new = u16::from_be_bytes([self.ttl, self.protocol]);
        self.checksum = Change::default().word(old, new).apply(self.checksum);
    }

    /// Replaces addresses and mends the header's checksum; returns what changed, for the transport's.
    #[inline(always)]
    pub fn replace_ends(
        &mut self,
        source: Option<[u8; 4]>,
        destination: Option<[u8; 4]>,
    ) -> Change {
        let mut change = Change::default();
        if let Some(new) = source {
            change = change.address_v4(self.source, new);
            self.source = new;
        }
        if let Some(new) = destination {
            change = change.address_v4(self.destination, new);
            self.destination = new;
        }
        self.checksum = change.apply(self.checksum);
        change
    }
}
