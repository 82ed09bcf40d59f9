//! Packets that leave in fragments: as they came, or because they do not fit and may be taken apart.

use lb_model::{DropReason, Frame, Packet, Port};
use lb_wire::Split;

use crate::worker::Worker;

/// More than a datagram of the greatest length has on any link that is in use.
pub const MOST_PIECES: usize = 128;
/// IPv6 datagrams are not sent in shorter fragments than this, however they came (kernel `ip6_fragment`).
const LEAST_LENGTH_V6: u32 = 1280;

/// Fills [`Worker::pieces`] with the fragments of the packet, none longer than `mtu`.
pub fn cut<P: Port>(worker: &mut Worker<P>, packet: &Packet, mtu: u32) -> Result<(), DropReason> {
    let split = plan(packet, mtu, worker.fragment_id).ok_or(DropReason::TooBig)?;
    worker.fragment_id = worker.fragment_id.wrapping_add(1);
    let cut = fill(worker, packet.frame.bytes(), &split);
    if cut.is_err() {
        let mut pieces = std::mem::take(&mut worker.pieces);
        for frame in pieces.drain(..) {
            worker.port.release(frame);
        }
        worker.pieces = pieces;
    }
    cut
}

fn plan(packet: &Packet, mtu: u32, id: u32) -> Option<Split> {
    let frame = packet.frame.bytes();
    let (l3, end) = (packet.headers.l3.into(), packet.headers.end.into());
    let is_v4 = frame.get(usize::from(packet.headers.l3))? >> 4 == 4;
    let longest = packet.reassembled.map_or(mtu, |came| came.longest);
    let limit = mtu.min(if is_v4 {
        longest
    } else {
        longest.max(LEAST_LENGTH_V6)
    });
    let split = Split::new(frame, l3, end, limit as usize, id)?;
    let split = match packet.reassembled {
        None => split,
        Some(came) => {
            let growth = split
                .payload_len()
                .saturating_sub(came.payload_len as usize);
            split
                .dont_fragment(came.dont_fragment)
                .as_received(came.part as usize, growth)
        }
    };
    (split.count() <= MOST_PIECES).then_some(split)
}

fn fill<P: Port>(worker: &mut Worker<P>, whole: &[u8], split: &Split) -> Result<(), DropReason> {
    for number in 0..split.count() {
        let frame = worker.port.spare().ok_or(DropReason::NoFrame)?;
        worker.pieces.push(frame);
        let frame: &mut Frame = worker.pieces.last_mut().ok_or(DropReason::NoFrame)?;
        let len = split.len_of(number);
        if !frame.resize(len) || split.write(whole, number, frame.bytes_mut()).is_none() {
            return Err(DropReason::TooBig);
        }
    }
    Ok(())
}
