//! Ethernet II.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Ethertype of an IEEE 802.1Q tag.
pub(crate) const ETHERTYPE_VLAN: u16 = 0x8100;
/// Ethertype of a provider's tag (IEEE 802.1ad).
pub(crate) const ETHERTYPE_PROVIDER_VLAN: u16 = 0x88a8;
/// A tag and the ethertype behind it.
pub(crate) const VLAN_TAG_LEN: usize = 4;

/// The header of an untagged Ethernet frame.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// What follows.
    pub ethertype: U16,
}

impl EthernetHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<EthernetHeader>();

    /// The header of `frame`, to be changed.
    #[inline]
    pub fn of_mut(frame: &mut [u8]) -> Option<&mut EthernetHeader> {
        Some(EthernetHeader::mut_from_prefix(frame).ok()?.0)
    }

    /// Makes these its addresses: destination, then source.
    #[inline(always)]
    pub fn set_ends(&mut self, ends: &[u8; 12]) {
        self.as_mut_bytes()[..12].copy_from_slice(ends);
    }
}
