//! A port that one packet comes in on at a time.

use std::time::Duration;

use lb::{Batch, Frame, FrameCensus, InterfaceId, Port};

/// Packets that may wait inside, the one in hand, and what a turn may send.
const FRAMES: u32 = 512;
/// The largest packet that a frame's length can tell.
const FRAME_SIZE: usize = 65_535;

pub struct ReplayPort {
    free: Vec<Frame>,
    delivered: Option<(InterfaceId, Frame)>,
    sent: Vec<(InterfaceId, Vec<u8>)>,
    held: u64,
}

impl ReplayPort {
    pub fn new() -> ReplayPort {
        // Held by frames to the end of the process, which is that of the replay.
        let frame = |id| Frame::new(Box::leak(vec![0; FRAME_SIZE].into_boxed_slice()), 0, id);
        ReplayPort {
            free: (0..FRAMES).map(frame).collect(),
            delivered: None,
            sent: Vec::new(),
            held: 0,
        }
    }

    /// Lets a packet arrive; `false` if it is longer than any frame.
    pub fn deliver(&mut self, ingress: InterfaceId, bytes: &[u8]) -> bool {
        let Some(mut frame) = self.free.pop() else {
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

    /// The first packet sent that was not taken yet.
    pub fn take_sent(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        (!self.sent.is_empty()).then(|| self.sent.remove(0))
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
        self.sent.push((egress, frame.bytes().to_vec()));
        self.release(frame);
        Ok(())
    }

    fn punt(&mut self, _ingress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        self.release(frame);
        Ok(())
    }

    fn release(&mut self, frame: Frame) {
        self.held -= 1;
        self.free.push(frame);
    }

    fn flush(&mut self) {}

    fn wait(&mut self, _timeout: Duration) {}

    fn census(&self) -> FrameCensus {
        FrameCensus {
            total: FRAMES.into(),
            free: self.free.len() as u64,
            receiving: u64::from(self.delivered.is_some()),
            transmitting: 0,
            held: self.held,
        }
    }
}
