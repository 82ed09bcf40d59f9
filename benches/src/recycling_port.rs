//! A port that costs as little as a port can: frames come from a list and go nowhere.

use std::time::Duration;

use lb::{Batch, Frame, FrameCensus, InterfaceId, Port};
use lb_conn::prefetch;

/// Frames per port: more than a batch, little enough to stay in the first-level cache.
const FRAMES: u32 = 128;
const FRAME_SIZE: usize = 2048;
/// How far ahead of the packet that is read the next ones are asked for, in bytes.
const AHEAD: usize = 2048;

/// Delivers a list of packets over and over; the copy of each into its frame (one cache line) is part of what is
/// measured. What is transmitted is free again at once.
///
/// The packets lie one after the other in memory, so that a long list is read as fast as the machine reads memory.
pub struct RecyclingPort {
    packets: Vec<Place>,
    bytes: Vec<u8>,
    next: usize,
    headroom: usize,
    free: Vec<Frame>,
    total: u64,
}

/// Of a packet in the list.
struct Place {
    start: usize,
    len: u16,
    ingress: InterfaceId,
}

impl RecyclingPort {
    /// A port that delivers nothing yet.
    pub fn new() -> RecyclingPort {
        RecyclingPort::with_frames(FRAMES)
    }

    /// The same with so many frames.
    pub fn with_frames(frames: u32) -> RecyclingPort {
        let frame = |id| Frame::new(Box::leak(vec![0; FRAME_SIZE].into_boxed_slice()), 0, id);
        RecyclingPort {
            packets: Vec::new(),
            bytes: Vec::new(),
            next: 0,
            headroom: 0,
            free: (0..frames).map(frame).collect(),
            total: frames.into(),
        }
    }

    /// Puts packets so many bytes into their frames, as the steering program does for services that tunnel.
    pub fn set_headroom(&mut self, bytes: usize) {
        self.headroom = bytes;
    }

    /// Delivers these from now on.
    pub fn deliver(&mut self, packets: impl IntoIterator<Item = (InterfaceId, Vec<u8>)>) {
        self.packets.clear();
        self.bytes.clear();
        self.next = 0;
        for (ingress, packet) in packets {
            self.packets.push(Place {
                start: self.bytes.len(),
                len: packet.len() as u16,
                ingress,
            });
            self.bytes.extend(packet);
        }
    }

    /// The packet that was transmitted last.
    pub fn sent_last(&self) -> &[u8] {
        self.free.last().map_or(&[], Frame::bytes)
    }
}

impl Default for RecyclingPort {
    fn default() -> RecyclingPort {
        RecyclingPort::new()
    }
}

impl Port for RecyclingPort {
    fn receive(&mut self, batch: &mut Batch) {
        if self.packets.is_empty() {
            return;
        }
        while batch.room() > 0
            && let Some(frame) = self.free.pop()
        {
            let place = &self.packets[self.next];
            let bytes = &self.bytes[place.start..place.start + usize::from(place.len)];
            if let Some(later) = self.bytes.get(place.start + AHEAD) {
                prefetch(later);
            }
            self.next = if self.next + 1 == self.packets.len() {
                0
            } else {
                self.next + 1
            };
            let (id, len) = (frame.id(), self.headroom + bytes.len());
            let mut frame = Frame::new(frame.into_room(), len, id);
            frame.skip(self.headroom);
            frame.bytes_mut().copy_from_slice(bytes);
            batch.push(frame, place.ingress);
        }
    }

    fn transmit(&mut self, _egress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        self.free.push(frame);
        Ok(())
    }

    fn punt(&mut self, _ingress: InterfaceId, frame: Frame) -> Result<(), Frame> {
        Err(frame)
    }

    fn spare(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    fn release(&mut self, frame: Frame) {
        self.free.push(frame);
    }

    /// All of these ports' memory is one: that of the process.
    fn give_away(&mut self, _frame: &Frame) {
        self.total -= 1;
    }

    fn adopt(&mut self, _frame: &Frame) {
        self.total += 1;
    }

    fn flush(&mut self) {}

    fn wait(&mut self, _timeout: Duration) {}

    fn census(&self) -> FrameCensus {
        let free = self.free.len() as u64;
        FrameCensus {
            total: self.total,
            free,
            held: self.total - free,
            ..FrameCensus::default()
        }
    }
}
