//! IPv6, RFC 8200.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Change;
use crate::overlay;

/// The fixed IPv6 header; extension headers may follow it.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version 6, traffic class, flow label.
    pub version_class_flow: U32,
    /// Length of all that follows this header, in bytes.
    pub payload_len: U16,
    /// What follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

impl Ipv6Header {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Ipv6Header>();

    /// The header at `offset` of `frame`.
    #[inline(always)]
    pub fn at(frame: &[u8], offset: usize) -> Option<&Ipv6Header> {
        overlay::at(frame, offset)
    }

    /// The header at `offset` of `frame`, to be changed.
    #[inline(always)]
    pub fn at_mut(frame: &mut [u8], offset: usize) -> Option<&mut Ipv6Header> {
        overlay::at_mut(frame, offset)
    }

    /// The IP version that the header claims.
    #[inline]
    pub fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Replaces addresses; returns what changed, for the transport's checksum.
    #[inline(always)]
    pub fn replace_ends(
        &mut self,
        source: Option<[u8; 16]>,
        destination: Option<[u8; 16]>,
    ) -> Change {
        let mut change = Change::default();
        if let Some(new) = source {
            change = change.address_v6(self.source, new);
            self.source = new;
        }
        if let Some(new) = destination {
            change = change.address_v6(self.destination, new);
            self.destination = new;
        }
        change
    }
}
