//! IPv6, RFC 8200.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Change;

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
    pub fn at(frame: &[u8], offset: usize) -> Option<&Ipv6Header> {
        Some(Ipv6Header::ref_from_prefix(frame.get(offset..)?).ok()?.0)
    }

    /// The header at `offset` of `frame`, to be changed.
    pub fn at_mut(frame: &mut [u8], offset: usize) -> Option<&mut Ipv6Header> {
        Some(
            Ipv6Header::mut_from_prefix(frame.get_mut(offset..)?)
                .ok()?
                .0,
        )
    }

    /// The IP version that the header claims.
    pub fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Replaces the source address; returns what changed, for the transport's checksum.
    pub fn replace_source(&mut self, new: [u8; 16]) -> Change {
        let change = Change::default().address_v6(self.source, new);
        self.source = new;
        change
    }

    /// Replaces the destination address; returns what changed, for the transport's checksum.
    pub fn replace_destination(&mut self, new: [u8; 16]) -> Change {
        let change = Change::default().address_v6(self.destination, new);
        self.destination = new;
        change
    }
}
