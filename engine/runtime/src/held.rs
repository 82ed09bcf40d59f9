//! Packets that wait for the kernel to find the MAC of their next hop.

use std::time::Duration;

use lb_model::{Addr, DropReason, InterfaceId, NextHops, Packet, Time, Verdict};

use crate::stages::route::route;

/// All packets that one worker lets wait.
const TOTAL: usize = 256;
/// Packets that wait for one next hop; enough for the first flight of a few dozen conns to a new server.
const PER_NEXT_HOP: usize = 64;
/// The kernel asks three times, a second apart, before it gives up (`mcast_solicit`, `retrans_time_ms`).
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer is lost for good when the kernel's entry is flushed before it arrives, so whoever waits asks again. As often
/// as the kernel itself.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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
    /// Its next hop was asked for on its account.
    asked: bool,
}

/// The packets, in the order in which they came.
pub struct Held {
    packets: Vec<HeldPacket>,
}

/// What became of a packet that was given to [`Held::hold`].
pub enum Holding {
    /// It waits, and its next hop is to be asked for.
    Asking,
    /// It waits behind one on whose account its next hop was asked for just now.
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
        let same = self.packets.iter().filter(|h| h.next_hop == next_hop);
        if self.packets.len() >= TOTAL || same.clone().count() >= PER_NEXT_HOP {
            return Holding::Refused(packet);
        }
        let asking = !same
            .filter(|held| held.asked)
            .any(|held| now.since(held.since) < AGAIN_AFTER);
        self.packets.push(HeldPacket {
            packet,
            next_hop,
            since: now,
            asked: asking,
        });
        if asking {
            Holding::Asking
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

#[cfg(test)]
mod tests {
    use lb_model::Frame;

    use super::*;

    const START: Time = Time::from_nanos(1_000_000_000);
    const HOP: NextHop = NextHop {
        egress: InterfaceId(1),
        addr: Addr::v4([10, 0, 0, 7]),
    };

    fn asks(held: &mut Held, next_hop: NextHop, now: Time) -> bool {
        let packet = Packet::received(Frame::new(&mut [], 0, 0), InterfaceId(0));
        matches!(held.hold(packet, next_hop, now), Holding::Asking)
    }

    #[test]
    fn a_next_hop_is_asked_for_each_second_while_packets_come_for_it() {
        let mut held = Held::new();
        let other = NextHop {
            addr: Addr::v4([10, 0, 0, 8]),
            ..HOP
        };
        assert!(asks(&mut held, HOP, START));
        assert!(!asks(&mut held, HOP, START + AGAIN_AFTER / 2));
        assert!(asks(&mut held, other, START + AGAIN_AFTER / 2));
        assert!(asks(&mut held, HOP, START + AGAIN_AFTER));
        assert!(!asks(&mut held, HOP, START + AGAIN_AFTER * 3 / 2));
    }

    #[test]
    fn what_waits_is_bounded_per_next_hop() {
        let mut held = Held::new();
        let fill = |held: &mut Held| {
            (0..=PER_NEXT_HOP)
                .filter(|_| asks(held, HOP, START))
                .count()
        };
        assert_eq!((fill(&mut held), held.len()), (1, PER_NEXT_HOP));
    }
}
