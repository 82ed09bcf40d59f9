//! Packet memory: chunks of the UMEM as tokens, and frames made of them.
//!
//! A [`Chunk`] is the right to one chunk of the UMEM while it is neither on a ring nor held as a
//! [`Frame`]. It is made once for every chunk when the memory is, and moves from then on: into a ring and out of its
//! counterpart (`queue.rs`), into a `Frame` and back (here).

#![allow(unsafe_code)]

use std::mem;
use std::num::NonZeroU32;
use std::slice;

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

/// All packet memory, before it is shared out.
pub(crate) struct Memory {
    pub umem: Umem,
    chunks: std::vec::IntoIter<FrameDesc>,
    next: u32,
    /// The binary logarithm of the chunk size.
    shift: u32,
}

impl Memory {
    /// Memory for `frames` chunks, on huge pages where the machine has some to spare.
    pub(crate) fn new(config: UmemConfig, frames: NonZeroU32) -> Result<Memory, UmemCreateError> {
        let (umem, descs) =
            Umem::new(config, frames, true).or_else(|_| Umem::new(config, frames, false))?;
        Ok(Memory {
            umem,
            chunks: descs.into_iter(),
            next: 0,
            shift: config.frame_size().get().trailing_zeros(),
        })
    }

    /// The share of one port: the next `count` chunks.
    pub(crate) fn share(&mut self, count: u32) -> Pool {
        let descs: Vec<_> = self.chunks.by_ref().take(count as usize).collect();
        let first = self.next;
        self.next += descs.len() as u32;
        Pool {
            umem: self.umem.clone(),
            shift: self.shift,
            first,
            total: descs.len() as u64,
            held: 0,
            frames: descs.clone().into_boxed_slice(),
            free: descs.into_iter().map(Chunk).collect(),
        }
    }
}

/// A port's chunks: the free ones, and how many are held as frames.
pub(crate) struct Pool {
    umem: Umem,
    /// The binary logarithm of the chunk size: a division for each packet would show.
    shift: u32,
    /// The number of this pool's first chunk in the UMEM; a frame's id counts over the whole UMEM.
    first: u32,
    total: u64,
    held: u64,
    /// The descriptor of each chunk while it is held as a frame.
    frames: Box<[FrameDesc]>,
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

    /// A chunk with a received packet, as a frame; `marked` if the steering program may have opened room in front of it.
    #[inline]
    pub(crate) fn frame(&mut self, chunk: Chunk, marked: bool) -> Frame {
        let Chunk(mut desc) = chunk;
        let id = (desc.addr() >> self.shift) as u32;
        self.frames[(id - self.first) as usize] = desc;
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
        let frame = Frame::new(room, len, id);
        match frame.bytes() {
            [ROOM_MARK, headroom, ..] if marked && usize::from(*headroom) < len => {
                let headroom = usize::from(*headroom);
                frame.behind(headroom)
            }
            _ => frame,
        }
    }

    /// The chunk of a frame that came back, its packet as long as the frame says.
    ///
    /// Panics if the frame is not of this pool.
    #[inline]
    pub(crate) fn chunk(&mut self, frame: Frame) -> Chunk {
        let (id, len) = (frame.id(), frame.len());
        let room = frame.into_room();
        let mut desc = *self
            .frames
            .get(id.wrapping_sub(self.first) as usize)
            .expect("a frame goes back to the port that it came from");
        // SAFETY: the frame was the only right to this chunk; that it is this chunk's frame and not one made up with
        // its id is checked by the address, which nobody else can have as an exclusive slice.
        let mut data = unsafe { self.umem.data_mut(&mut desc) };
        data.cursor().set_pos(len);
        assert_eq!(
            data.contents().as_ptr(),
            room.as_ptr(),
            "a frame goes back to the port that it came from"
        );
        self.held -= 1;
        Chunk(desc)
    }

    /// How many different chunks are free: fewer than `free.len()` if one is there twice.
    pub(crate) fn count_free(&self) -> u64 {
        let mut seen = vec![false; self.frames.len()];
        for Chunk(desc) in &self.free {
            seen[(desc.addr() >> self.shift) - self.first as usize] = true;
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
