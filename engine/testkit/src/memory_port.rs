//! A port in memory: frames are injected by hand and looked at where they come out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lb_model::{Batch, Frame, FrameCensus, InterfaceId, Port};

/// As on AF_XDP: a page's half, less the headroom.
const FRAME_SIZE: usize = 2048 - 256;

/// Chunks live as long as the process, so they are used again by the next port instead of being leaked with the last.
static CHUNKS: Mutex<Vec<&'static mut [u8]>> = Mutex::new(Vec::new());

/// A [`Port`] over memory. What goes in is [injected](MemoryPort::inject), what comes out is
/// [taken](MemoryPort::take_sent).
pub struct MemoryPort {
    total: u64,
    free: Vec<Frame>,
    receiving: VecDeque<(InterfaceId, Frame)>,
    sent: VecDeque<(InterfaceId, Frame)>,
    punted: VecDeque<(InterfaceId, Vec<u8>)>,
    held: u64,
    flushed: usize,
    transmit_room: usize,
    kernel_takes: bool,
    headroom: usize,
}

impl MemoryPort {
    /// A port with `frames` frames.
    pub fn new(frames: u32) -> MemoryPort {
        let mut chunks = CHUNKS.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (0..frames)
            .map(|id| {
                let chunk = chunks
                    .pop()
                    .unwrap_or_else(|| Box::leak(vec![0; FRAME_SIZE].into_boxed_slice()));
                Frame::new(chunk, 0, id)
            })
            .collect();
        MemoryPort {
            total: frames.into(),
            free,
            receiving: VecDeque::new(),
            sent: VecDeque::new(),
            punted: VecDeque::new(),
            held: 0,
            flushed: 0,
            transmit_room: usize::MAX,
            kernel_takes: true,
            headroom: 0,
        }
    }

    /// Lets a frame arrive on an interface; `false` if no frame was free or the bytes do not fit one.
    pub fn inject(&mut self, ingress: InterfaceId, bytes: &[u8]) -> bool {
        let len = self.headroom + bytes.len();
        if len > FRAME_SIZE {
            return false;
        }
        let Some(mut frame) = self.free.pop() else {
            return false;
        };
        frame.settle();
        assert!(frame.resize(len), "checked above");
        frame.skip(self.headroom);
        frame.bytes_mut().copy_from_slice(bytes);
        self.receiving.push_back((ingress, frame));
        true
    }

    /// Leaves so much room in front of frames that arrive from now on.
    pub fn set_headroom(&mut self, bytes: usize) {
        self.headroom = bytes;
    }

    /// Takes the next frame that was sent and flushed.
    pub fn take_sent(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        self.flushed = self.flushed.checked_sub(1)?;
        let (egress, frame) = self.sent.pop_front()?;
        let bytes = frame.bytes().to_vec();
        self.free.push(frame);
        Some((egress, bytes))
    }

    /// Takes the next frame that was handed to the kernel.
    pub fn take_punted(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        self.punted.pop_front()
    }

    /// How many frames fit the transmit ring from now on; no limit at first.
    pub fn set_transmit_room(&mut self, room: usize) {
        self.transmit_room = room;
    }

    /// Whether the kernel takes what is punted; it does at first.
    pub fn set_kernel_takes(&mut self, takes: bool) {
        self.kernel_takes = takes;
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, batch: &mut Batch) {
        while batch.room() > 0
            && let Some((ingress, frame)) = self.receiving.pop_front()
        {
            self.held += 1;
            batch.push(frame, ingress);
        }
    }

    fn transmit(&mut self, egress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        if self.sent.len() >= self.transmit_room {
            return Err(frame);
        }
        self.held -= 1;
        self.sent.push_back((egress, frame));
        Ok(())
    }

    fn punt(&mut self, ingress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        if !self.kernel_takes {
            return Err(frame);
        }
        self.punted.push_back((ingress, frame.bytes().to_vec()));
        self.release(frame);
        Ok(())
    }

    fn spare(&mut self) -> Option<Frame> {
        let frame = self.free.pop()?;
        self.held += 1;
        Some(frame)
    }

    fn release(&mut self, frame: Frame) {
        self.held -= 1;
        self.free.push(frame);
    }

    /// All of these ports' memory is one: that of the process.
    fn give_away(&mut self, _frame: &Frame) {
        self.held -= 1;
        self.total -= 1;
    }

    fn adopt(&mut self, _frame: &Frame) {
        self.held += 1;
        self.total += 1;
    }

    fn flush(&mut self) {
        self.flushed = self.sent.len();
    }

    fn wait(&mut self, _timeout: Duration) {}

    fn census(&self) -> FrameCensus {
        FrameCensus {
            total: self.total,
            free: self.free.len() as u64,
            receiving: self.receiving.len() as u64,
            transmitting: self.sent.len() as u64,
            held: self.held,
        }
    }
}

impl Drop for MemoryPort {
    fn drop(&mut self) {
        let mut chunks = CHUNKS.lock().unwrap_or_else(PoisonError::into_inner);
        let queued = self
            .receiving
            .drain(..)
            .chain(self.sent.drain(..))
            .map(|(_, frame)| frame);
        chunks.extend(self.free.drain(..).chain(queued).map(Frame::into_room));
    }
}
