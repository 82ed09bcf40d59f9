//! UDP, RFC 768.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::overlay;

/// A UDP header.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Length of header and payload in bytes.
    pub len: U16,
    /// Checksum over pseudo-header, header and payload; 0 over IPv4: none.
    pub checksum: U16,
}

impl UdpHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<UdpHeader>();

    /// The header at `offset` of `frame`.
    #[inline(always)]
    pub fn at(frame: &[u8], offset: usize) -> Option<&UdpHeader> {
        overlay::at(frame, offset)
    }

    /// The header at `offset` of `frame`, to be changed.
    #[inline(always)]
    pub fn at_mut(frame: &mut [u8], offset: usize) -> Option<&mut UdpHeader> {
        overlay::at_mut(frame, offset)
    }
}
