//! Packet memory: chunks of the UMEM as tokens, and frames made of them.
//!
//! A [`Chunk`] is the right to one chunk of the UMEM while it is neither on a ring nor held as a
//! [`Frame`]. It is made once for every chunk when the memory is, and moves from then on: into a ring and out of its
//! counterpart (`queue.rs`), into a `Frame` and back (here), and as a `Frame` from one port to another.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::mem;
use std::num::NonZeroU32;
use std::slice;
use std::sync::Arc;

use lb_bpf::ROOM_MARK;
use lb_model::Frame;
use xsk_rs::config::UmemConfig;
use xsk_rs::umem::UmemCreateError;
use xsk_rs::{FrameDesc, Umem};

/// One chunk, and where in it the packet starts and ends.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Chunk(FrameDesc);

impl Chunk {
    /// The chunk that a ring has just given to us.
    ///
    /// # Safety
    ///
    /// `desc` was taken from an RX or completion ring of a socket of our UMEM, and becomes a chunk only once.
    pub(crate) unsafe fn taken_from_ring(desc: FrameDesc) -> Chunk {
        Chunk(desc)
    }

    /// The descriptors of chunks that are about to be put on a ring.
    pub(crate) fn descriptors(chunks: &[Chunk]) -> &[FrameDesc] {
        // SAFETY: a Chunk is a FrameDesc in memory (repr(transparent)), and so is a slice of them.
        unsafe { slice::from_raw_parts(chunks.as_ptr().cast(), chunks.len()) }
    }
}

/// The descriptor of each chunk of the memory while it is held as a frame, by the chunk's number.
///
/// A port writes a chunk's descriptor when it makes a frame of it, and the port to which the frame goes back reads it:
/// that may be another one, on another thread.
struct Descriptors(Box<[UnsafeCell<FrameDesc>]>);

// SAFETY: a chunk's descriptor is touched by nobody but whoever has the chunk or its frame, of which there is one at a
// time; whatever moves a frame to another thread makes what was written before it seen there.
unsafe impl Sync for Descriptors {}

impl Descriptors {
    fn set(&self, chunk: &Chunk, number: u32) {
        // SAFETY: `chunk` is the only right to this chunk, see above, and the reference ends here.
        unsafe { *self.0[number as usize].get() = chunk.0 };
    }

    /// That of the chunk of `frame`; `None` if there is no such chunk.
    fn of(&self, frame: &Frame) -> Option<FrameDesc> {
        let descriptor = self.0.get(frame.id() as usize)?;
        // SAFETY: `frame` is the only right to its chunk, see above, and the reference ends here.
        Some(unsafe { *descriptor.get() })
    }
}

/// All packet memory, before it is shared out.
pub(crate) struct Memory {
    pub umem: Umem,
    chunks: std::vec::IntoIter<FrameDesc>,
    descriptors: Arc<Descriptors>,
    /// The binary logarithm of the chunk size.
    shift: u32,
}

impl Memory {
    /// Memory for `frames` chunks, on huge pages where the machine has some to spare.
    pub(crate) fn new(config: UmemConfig, frames: NonZeroU32) -> Result<Memory, UmemCreateError> {
        let (umem, descs) =
            Umem::new(config, frames, true).or_else(|_| Umem::new(config, frames, false))?;
        let descriptors = descs.iter().copied().map(UnsafeCell::new).collect();
        Ok(Memory {
            umem,
            chunks: descs.into_iter(),
            descriptors: Arc::new(Descriptors(descriptors)),
            shift: config.frame_size().get().trailing_zeros(),
        })
    }

    /// The share of one port: the next `count` chunks.
    pub(crate) fn share(&mut self, count: u32) -> Pool {
        let free: Vec<_> = (self.chunks.by_ref().take(count as usize))
            .map(Chunk)
            .collect();
        Pool {
            umem: self.umem.clone(),
            shift: self.shift,
            total: free.len() as u64,
            held: 0,
            descriptors: Arc::clone(&self.descriptors),
            free,
        }
    }
}

/// A port's chunks: the free ones, and how many are held as frames.
pub(crate) struct Pool {
    umem: Umem,
    /// The binary logarithm of the chunk size: a division for each packet would show.
    shift: u32,
    /// Without those that went to other pools, with those that came from there.
    total: u64,
    held: u64,
    descriptors: Arc<Descriptors>,
    /// Used from the end: what was touched last is still in the cache.
    pub free: Vec<Chunk>,
}

impl Pool {
    /// All chunks of this pool.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many are held as frames.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Counts a frame out that another pool of the same memory adopts.
    pub(crate) fn give_away(&mut self) {
        self.held -= 1;
        self.total -= 1;
    }

    /// Counts a frame in that another pool of the same memory gave away.
    pub(crate) fn adopt(&mut self) {
        self.held += 1;
        self.total += 1;
    }

    /// A chunk with a received packet, as a frame; `marked` if the steering program may have opened room in front of it.
    #[inline(always)]
    pub(crate) fn frame(&mut self, chunk: Chunk, marked: bool) -> Frame {
        let id = (chunk.0.addr() >> self.shift) as u32;
        self.descriptors.set(&chunk, id);
        let Chunk(mut desc) = chunk;
        // SAFETY: the descriptor is of our UMEM and `chunk` was the only right to it.
        let mut data = unsafe { self.umem.data_mut(&mut desc) };
        let len = data.contents().len();
        // All the way to the end of the chunk: a packet may grow that far.
        data.cursor().set_pos(usize::MAX);
        let room = data.contents_mut();
        // SAFETY: the same memory with a longer life. Nobody else touches it until the frame is back in `chunk`, and
        // it stays mapped until then: `drop` sees to it.
        let room = unsafe { slice::from_raw_parts_mut(room.as_mut_ptr(), room.len()) };
        self.held += 1;
        let mut frame = Frame::new(room, len, id);
        if marked
            && let [ROOM_MARK, headroom, ..] = *frame.bytes()
            && usize::from(headroom) < len
        {
            frame.skip(headroom.into());
        }
        frame
    }

    /// The chunk of a frame that came back, its packet as long as the frame says.
    ///
    /// Panics if the frame is not of this memory.
    #[inline]
    pub(crate) fn chunk(&mut self, frame: Frame) -> Chunk {
        let len = frame.len();
        let mut desc = (self.descriptors)
            .of(&frame)
            .expect("a frame goes back to the memory that it came from");
        let room = frame.into_room();
        // SAFETY: the frame was the only right to this chunk; that it is this chunk's frame and not one made up with
        // its id is checked by the address, which nobody else can have as an exclusive slice.
        let mut data = unsafe { self.umem.data_mut(&mut desc) };
        data.cursor().set_pos(len);
        assert_eq!(
            data.contents().as_ptr(),
            room.as_ptr(),
            "a frame goes back to the memory that it came from"
        );
        self.held -= 1;
        Chunk(desc)
    }

    /// How many different chunks are free: fewer than `free.len()` if one is there twice.
    pub(crate) fn count_free(&self) -> u64 {
        let mut seen = vec![false; self.descriptors.0.len()];
        for Chunk(desc) in &self.free {
            seen[desc.addr() >> self.shift] = true;
        }
        seen.into_iter().filter(|seen| *seen).count() as u64
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.held > 0 {
            tracing::error!(
                frames = self.held,
                "frames are still held: their memory is left mapped"
            );
            // Whoever holds them may write to them: never unmap.
            mem::forget(self.umem.clone());
        }
    }
}
