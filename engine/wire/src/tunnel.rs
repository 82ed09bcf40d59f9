//! What may stand between an outer IP header and the packet inside: GRE (RFC 2784) and GUE (the Internet-Draft
//! `intarea-gue`, as the kernel's `include/net/gue.h` has it).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GRE header without its optional fields.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct GreHeader {
    /// Which optional fields follow, and version 0.
    pub flags_version: U16,
    /// The ethertype of what is inside.
    pub protocol: U16,
}

impl GreHeader {
    /// Its length in bytes, without a checksum.
    pub const LEN: usize = size_of::<GreHeader>();

    /// The bit of `flags_version` that announces a checksum and two reserved bytes.
    pub const CHECKSUM: u16 = 0x8000;
    /// The length in bytes of the checksum and the reserved bytes.
    pub const CHECKSUM_LEN: usize = 4;
}

/// A GUE header of version 0 without options; it follows a UDP header.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct GueHeader {
    /// Version 0, not a control message, and the length of what follows in 32-bit words.
    pub version_control_len: u8,
    /// The IP protocol number of what is inside.
    pub protocol: u8,
    /// Which options follow.
    pub flags: U16,
}

impl GueHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<GueHeader>();
}
