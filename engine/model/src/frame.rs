//! A packet buffer that can be owned by one place at a time.

use std::ops::Range;
use std::{fmt, mem};

/// One chunk of packet memory and the packet in it: a token that moves and cannot be copied.
///
/// Whoever holds the `Frame` owns the bytes; giving it to [`Port::transmit`](crate::Port::transmit),
/// [`Port::punt`](crate::Port::punt) or [`Port::release`](crate::Port::release) gives them up. A port counts the
/// frames that it has handed out, so one that is dropped on the floor shows in the
/// [`FrameCensus`](crate::FrameCensus).
pub struct Frame {
    /// From the first byte that the packet may begin at to the end of what it may grow to.
    room: &'static mut [u8],
    start: u16,
    len: u16,
    id: u32,
}

impl Frame {
    /// A frame over `room`, whose first `len` bytes are the packet. `id` is the port's own name for the chunk.
    ///
    /// `room` lives as long as the process as far as the frame can tell; a port that unmaps its memory does so
    /// only when all its frames are back.
    #[inline(always)]
    pub fn new(room: &'static mut [u8], len: usize, id: u32) -> Frame {
        assert!(
            len <= room.len() && room.len() <= usize::from(u16::MAX),
            "a packet lies within its chunk"
        );
        Frame {
            start: 0,
            len: len as u16,
            room,
            id,
        }
    }

    /// Makes the packet begin `headroom` bytes later; it may [grow](Frame::grow_front) into them.
    #[inline]
    pub fn skip(&mut self, headroom: usize) {
        assert!(headroom <= self.len(), "headroom is cut from the packet");
        self.start += headroom as u16;
        self.len -= headroom as u16;
    }

    /// The packet.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.room[self.range()]
    }

    /// The packet, to be changed in place.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        &mut self.room[range]
    }

    /// Of the room: one comparison shows that it is in there.
    #[inline(always)]
    fn range(&self) -> Range<usize> {
        let start = usize::from(self.start);
        start..start + usize::from(self.len)
    }

    /// Where the packet begins, for asking for its cache line.
    #[inline]
    pub fn first(&self) -> Option<&u8> {
        self.room.get(usize::from(self.start))
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
        let fits = usize::from(self.start) + len <= self.room.len();
        if fits {
            self.len = len as u16;
        }
        fits
    }

    /// Makes the packet `len` bytes long, if it is longer.
    #[inline(always)]
    pub fn truncate(&mut self, len: u16) {
        self.len = self.len.min(len);
    }

    /// Makes the packet begin `bytes` earlier, with whatever is there; `false` and no change if there is no room before it.
    #[must_use]
    pub fn grow_front(&mut self, bytes: usize) -> bool {
        let fits = bytes <= usize::from(self.start);
        if fits {
            self.start -= bytes as u16;
            self.len += bytes as u16;
        }
        fits
    }

    /// Moves the packet to where its chunk begins, for a port that cannot send from elsewhere.
    #[inline]
    pub fn settle(&mut self) {
        if self.start > 0 {
            let start = usize::from(self.start);
            self.room.copy_within(start..start + self.len(), 0);
            self.start = 0;
        }
    }

    /// The port's name for the chunk.
    #[inline]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The frame; what stays in its place has no chunk, and is for nobody to use.
    ///
    /// Field by field, which keeps them in registers: as a whole it goes through the stack in pieces that overlap, and
    /// the processor waits for one to be written before it reads the next, a fifth of a packet's time.
    #[inline]
    pub fn take(&mut self) -> Frame {
        Frame {
            room: mem::take(&mut self.room),
            start: mem::take(&mut self.start),
            len: mem::take(&mut self.len),
            id: mem::replace(&mut self.id, u32::MAX),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_grows_into_the_room_before_it_and_settles_where_that_begins() {
        let room = Box::leak(Box::new([0xff, 3, 0, 1, 2, 3, 9, 9]));
        let mut frame = Frame::new(room, 6, 0);
        frame.skip(3);
        assert_eq!((frame.bytes(), frame.len()), (&[1, 2, 3][..], 3));
        assert!(!frame.grow_front(4) && !frame.resize(6));
        assert!(frame.grow_front(1) && frame.resize(5));
        assert_eq!(frame.bytes(), [0, 1, 2, 3, 9]);
        frame.settle();
        assert_eq!(frame.bytes(), [0, 1, 2, 3, 9]);
        assert!(!frame.grow_front(1));
        assert_eq!(frame.into_room()[..5], [0, 1, 2, 3, 9]);
    }
}
