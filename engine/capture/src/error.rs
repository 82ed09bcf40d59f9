//! What can be wrong with a capture, and where.

use std::io;

/// A capture that cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("packet {packet}, byte {offset}: {problem}")]
pub struct CaptureError {
    /// The packet that was to be read, counted from 0.
    pub packet: u64,
    /// Where in the file the record or block starts that is broken.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file starts with something else.
    #[error("not a capture: allowed are pcap and pcapng")]
    NotACapture,
    /// The file ends in the middle.
    #[error("the file ends after {present} of {wanted} bytes: it is truncated")]
    Truncated {
        /// How many bytes there should be from the offset on.
        wanted: u64,
        /// How many there are.
        present: u64,
    },
    /// A version of the format that did not exist when this was written.
    #[error("version {major}.{minor} of the format; known are pcap 2 and pcapng 1")]
    Version {
        /// As in the file.
        major: u16,
        /// As in the file.
        minor: u16,
    },
    /// The byte-order magic of a pcapng section is neither way round.
    #[error("byte-order magic {0:#010x}, allowed 0x1a2b3c4d in either byte order")]
    ByteOrder(u32),
    /// A packet or block longer than any that exist.
    #[error("length {length}, allowed up to {allowed}")]
    TooLong {
        /// As in the file.
        length: u32,
        /// The limit.
        allowed: u32,
    },
    /// A block length that cannot hold what the block must have, or is no multiple of four.
    #[error("block of type {kind:#x} with length {length}: too short, or no multiple of 4")]
    BlockLength {
        /// The block's type.
        kind: u32,
        /// The length field.
        length: u32,
    },
    /// The length at a block's end is not the one at its start.
    #[error("block length {start} at its start, {end} at its end")]
    BlockEnd {
        /// The length field at the start.
        start: u32,
        /// The length field at the end.
        end: u32,
    },
    /// A packet claims more bytes than its block has.
    #[error("{captured} captured bytes in a block with room for {room}")]
    CapturedLength {
        /// As in the file.
        captured: u32,
        /// What fits.
        room: usize,
    },
    /// A packet of an interface that the section has not described.
    #[error("interface {interface}, but the section has described {known}")]
    UnknownInterface {
        /// As in the file.
        interface: u32,
        /// How many there are.
        known: usize,
    },
    /// A timestamp before 1970 or after 2554.
    #[error("the timestamp is outside 1970 to 2554")]
    Time,
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}
