//! Packets that wait for the kernel to find the MAC of their next hop.

use std::time::Duration;

use lb_model::{Addr, DropReason, InterfaceId, NextHops, Packet, Time, Verdict};

use crate::stages::rewrite::route;

/// All packets that one worker lets wait.
const TOTAL: usize = 256;
/// Packets that wait for one next hop; enough for the first flight of a few dozen conns to a new server.
const PER_NEXT_HOP: usize = 64;
/// The kernel asks three times, a second apart, before it gives up (`mcast_solicit`, `retrans_time_ms`).
const PATIENCE: Duration = Duration::from_secs(3);

/// A next hop whose MAC is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    pub egress: InterfaceId,
    pub addr: Addr,
}

struct HeldPacket {
    packet: Packet,
    next_hop: NextHop,
    since: Time,
}

/// The packets, in the order in which they came.
pub struct Held {
    packets: Vec<HeldPacket>,
}

/// What became of a packet that was given to [`Held::hold`].
pub enum Holding {
    /// It waits, and is the first to wait for its next hop: somebody must ask for it.
    First,
    /// It waits behind others.
    Behind,
    /// No room.
    Refused(Packet),
}

impl Held {
    pub fn new() -> Held {
        Held {
            packets: Vec::with_capacity(TOTAL),
        }
    }

    pub fn len(&self) -> usize {
        self.packets.len()
    }

    pub fn hold(&mut self, packet: Packet, next_hop: NextHop, now: Time) -> Holding {
        let same = self
            .packets
            .iter()
            .filter(|held| held.next_hop == next_hop)
            .count();
        if self.packets.len() >= TOTAL || same >= PER_NEXT_HOP {
            return Holding::Refused(packet);
        }
        self.packets.push(HeldPacket {
            packet,
            next_hop,
            since: now,
        });
        if same == 0 {
            Holding::First
        } else {
            Holding::Behind
        }
    }

    /// Takes out, in order, the packets whose next hop is known by now and those that waited too long.
    pub fn release(&mut self, now: Time, next_hops: &NextHops) -> Vec<Packet> {
        self.packets
            .extract_if(.., |held| {
                let way = next_hops.resolve(held.packet.route_to);
                route(&mut held.packet, way);
                let waits = held.packet.verdict == Some(Verdict::Hold);
                if waits && now.since(held.since) >= PATIENCE {
                    held.packet.verdict = Some(Verdict::Drop(DropReason::NeighbourUnresolved));
                    return true;
                }
                !waits
            })
            .map(|held| held.packet)
            .collect()
    }

    /// Takes out every packet.
    pub fn take(&mut self) -> Vec<Packet> {
        self.packets.drain(..).map(|held| held.packet).collect()
    }
}
