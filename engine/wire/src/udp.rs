//! UDP, RFC 768.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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
    #[inline]
    pub fn at(frame: &[u8], offset: usize) -> Option<&UdpHeader> {
        Some(UdpHeader::ref_from_prefix(frame.get(offset..)?).ok()?.0)
    }

    /// The header at `offset` of `frame`, to be changed.
    #[inline]
    pub fn at_mut(frame: &mut [u8], offset: usize) -> Option<&mut UdpHeader> {
        Some(UdpHeader::mut_from_prefix(frame.get_mut(offset..)?).ok()?.0)
    }
}
