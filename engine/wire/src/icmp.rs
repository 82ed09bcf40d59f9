//! ICMP (RFC 792) and ICMPv6 (RFC 4443): the header that all their messages begin with.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::overlay;

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub const PROTOCOL_ICMP_V6: u8 = 58;

/// The first eight bytes of a message; an error goes on with the packet that it is about.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct IcmpHeader {
    /// What kind of message.
    pub kind: u8,
    /// Which one of the kind.
    pub code: u8,
    /// Over the whole message; in ICMPv6 over a pseudo-header, too.
    pub checksum: U16,
    /// An MTU, a pointer, an identifier, or nothing.
    pub rest: U32,
}

impl IcmpHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<IcmpHeader>();

    /// The header at `offset` of `frame`.
    #[inline(always)]
    pub fn at(frame: &[u8], offset: usize) -> Option<&IcmpHeader> {
        overlay::at(frame, offset)
    }

    /// The header at `offset` of `frame`, to be changed.
    #[inline(always)]
    pub fn at_mut(frame: &mut [u8], offset: usize) -> Option<&mut IcmpHeader> {
        overlay::at_mut(frame, offset)
    }
}

/// Kinds and codes of ICMP messages.
#[allow(missing_docs)] // the names are the RFC's
pub mod v4 {
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    pub const HOST_UNREACHABLE: u8 = 1;
    pub const PORT_UNREACHABLE: u8 = 3;
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    pub const SOURCE_QUENCH: u8 = 4;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Kinds and codes of ICMPv6 messages.
#[allow(missing_docs)] // the names are the RFC's
pub mod v6 {
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    pub const ADDRESS_UNREACHABLE: u8 = 3;
    pub const PORT_UNREACHABLE: u8 = 4;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
}
