//! A port that one packet comes in on at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lb::{Batch, Frame, FrameCensus, InterfaceId, Port};

/// Packets that may wait inside, the one in hand, and what a turn may send.
const FRAMES: u32 = 512;
/// The largest packet that a frame's length can tell.
const FRAME_SIZE: usize = 65_535;

/// Chunks live as long as the process, so they are used again by the next port instead of being leaked with the last.
static CHUNKS: Mutex<Vec<&'static mut [u8]>> = Mutex::new(Vec::new());

pub struct ReplayPort {
    /// Those there are so far, of [`FRAMES`] that there may be.
    total: u32,
    free: Vec<Frame>,
    delivered: Option<(InterfaceId, Frame)>,
    sent: VecDeque<(InterfaceId, Vec<u8>)>,
    held: u64,
}

impl ReplayPort {
    pub fn new() -> ReplayPort {
        ReplayPort {
            total: 0,
            free: Vec::new(),
            delivered: None,
            sent: VecDeque::new(),
            held: 0,
        }
    }

    /// Lets a packet arrive; `false` if it is longer than any frame.
    pub fn deliver(&mut self, ingress: InterfaceId, bytes: &[u8]) -> bool {
        let Some(mut frame) = self.free.pop().or_else(|| self.another()) else {
            return false;
        };
        let fits = frame.resize(bytes.len());
        if fits {
            frame.bytes_mut().copy_from_slice(bytes);
            self.delivered = Some((ingress, frame));
        } else {
            self.free.push(frame);
        }
        fits
    }

    /// One more frame, as long as there are not too many.
    fn another(&mut self) -> Option<Frame> {
        if self.total == FRAMES {
            return None;
        }
        self.total += 1;
        let mut chunks = CHUNKS.lock().unwrap_or_else(PoisonError::into_inner);
        let chunk = chunks
            .pop()
            .unwrap_or_else(|| Box::leak(vec![0; FRAME_SIZE].into_boxed_slice()));
        Some(Frame::new(chunk, 0, self.total))
    }

    /// The first packet sent that was not taken yet.
    pub fn take_sent(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        self.sent.pop_front()
    }
}

impl Drop for ReplayPort {
    fn drop(&mut self) {
        let mut chunks = CHUNKS.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.extend(self.free.drain(..).map(Frame::into_room));
    }
}

impl Port for ReplayPort {
    fn receive(&mut self, batch: &mut Batch) {
        if let Some((ingress, frame)) = self.delivered.take() {
            self.held += 1;
            batch.push(frame, ingress);
        }
    }

    fn transmit(&mut self, egress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        self.sent.push_back((egress, frame.bytes().to_vec()));
        self.release(frame);
        Ok(())
    }

    fn punt(&mut self, _ingress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        self.release(frame);
        Ok(())
    }

    fn spare(&mut self) -> Option<Frame> {
        let frame = self.free.pop().or_else(|| self.another())?;
        self.held += 1;
        Some(frame)
    }

    fn release(&mut self, frame: Frame) {
        self.held -= 1;
        self.free.push(frame);
    }

    fn flush(&mut self) {}

    fn wait(&mut self, _timeout: Duration) {}

    fn census(&self) -> FrameCensus {
        FrameCensus {
            total: self.total.into(),
            free: self.free.len() as u64,
            receiving: u64::from(self.delivered.is_some()),
            transmitting: 0,
            held: self.held,
        }
    }
}
