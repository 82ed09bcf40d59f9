//! A packet buffer that can be owned by one place at a time.

use std::fmt;

/// One chunk of packet memory and the packet in it: a token that moves and cannot be copied.
///
/// Whoever holds the `Frame` owns the bytes; giving it to [`Port::transmit`](crate::Port::transmit),
/// [`Port::punt`](crate::Port::punt) or [`Port::release`](crate::Port::release) gives them up. A port counts the
/// frames that it has handed out, so one that is dropped on the floor shows in the
/// [`FrameCensus`](crate::FrameCensus).
pub struct Frame {
    /// From the first byte of the packet to the end of what it may grow to.
    room: &'static mut [u8],
    len: u16,
    id: u32,
}

impl Frame {
    /// A frame over `room`, whose first `len` bytes are the packet. `id` is the port's own name for the chunk.
    ///
    /// `room` lives as long as the process as far as the frame can tell; a port that unmaps its memory does so
    /// only when all its frames are back.
    pub fn new(room: &'static mut [u8], len: usize, id: u32) -> Frame {
        assert!(
            len <= room.len() && room.len() <= usize::from(u16::MAX),
            "a packet lies within its chunk"
        );
        Frame {
            len: len as u16,
            room,
            id,
        }
    }

    /// The packet.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.room[..usize::from(self.len)]
    }

    /// The packet, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.room[..usize::from(self.len)]
    }

    /// The packet's length in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Makes the packet `len` bytes long; `false` and no change if its chunk has no room for that.
    #[must_use]
    pub fn resize(&mut self, len: usize) -> bool {
        let fits = len <= self.room.len();
        if fits {
            self.len = len as u16;
        }
        fits
    }

    /// The port's name for the chunk.
    #[inline]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Takes the frame apart, for the port that made it.
    pub fn into_room(self) -> &'static mut [u8] {
        self.room
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame {{ id: {}, len: {} }}", self.id, self.len)
    }
}
