//! TCP, RFC 9293.

use std::fmt;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::overlay;

/// The fixed part of a TCP header; options may follow it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct TcpHeader {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Sequence number.
    pub sequence: U32,
    /// Acknowledgement number.
    pub acknowledgement: U32,
    /// Header length in 32-bit words, in the upper four bits.
    pub data_offset: u8,
    /// The control bits.
    pub flags: u8,
    /// Receive window.
    pub window: U16,
    /// Checksum over pseudo-header, header and payload.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

impl TcpHeader {
    /// Length without options, in bytes.
    pub const LEN: usize = size_of::<TcpHeader>();

    /// The header at `offset` of `frame`.
    #[inline(always)]
    pub fn at(frame: &[u8], offset: usize) -> Option<&TcpHeader> {
        overlay::at(frame, offset)
    }

    /// The header at `offset` of `frame`, to be changed.
    #[inline(always)]
    pub fn at_mut(frame: &mut [u8], offset: usize) -> Option<&mut TcpHeader> {
        overlay::at_mut(frame, offset)
    }

    /// Length with options, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.data_offset >> 4) * 4
    }
}

/// The control bits of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement field counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether these are an acknowledgement's, and neither begin nor end a connection: what nearly every segment is.
    #[inline(always)]
    pub const fn acknowledge_only(self) -> bool {
        const COUNT: u8 = TcpFlags::RST.0 | TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::ACK.0;
        self.0 & COUNT == TcpFlags::ACK.0
    }

    /// These bits and those.
    pub const fn with(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [
            (TcpFlags::FIN, 'F'),
            (TcpFlags::SYN, 'S'),
            (TcpFlags::RST, 'R'),
            (TcpFlags::PSH, 'P'),
            (TcpFlags::ACK, 'A'),
        ] {
            if self.has(bit) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}
