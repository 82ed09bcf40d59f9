//! Stage 6: the conn's state, the TTL, the size, what the mode changes, the way out.
//!
//! Nearly all packets [are plain](Packet::plain), and go all of that way at once; `closely` does the same for any other.
//!
//! Ends: [`DropReason::TtlExceeded`], [`DropReason::NoRoute`], [`DropReason::TooBig`], [`PuntReason::OwnServer`], and what a mode finds wrong.
//!
//! [`DropReason::TtlExceeded`]: lb_model::DropReason::TtlExceeded
//! [`DropReason::NoRoute`]: lb_model::DropReason::NoRoute
//! [`DropReason::TooBig`]: lb_model::DropReason::TooBig
//! [`PuntReason::OwnServer`]: lb_model::PuntReason::OwnServer

mod closely;

use std::sync::Arc;

use lb_conn::{ConnTable, Stamp};
use lb_model::{Addr, Conn, Dest, Direction, HopCache, Mode, Packet, Port, Time, Verdict};
use lb_wire::{EthernetHeader, Ipv4Header, Ipv6Header, checksum};

use crate::counters::{Counter, Counters};
use crate::paths::Paths;
use crate::traffic_book::TrafficBook;
use crate::worker::Worker;

/// More than any mode puts around a packet.
const MOST_OVERHEAD: u32 = 128;

pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let smallest = worker.smallest_mtu.min(worker.paths.smallest());
    let mut rewriting = Rewriting {
        now,
        stamp: Stamp::of(now),
        large: smallest.saturating_sub(MOST_OVERHEAD),
        ignore_df: !worker.snapshot.settings().pmtu_disc,
        conns: &mut worker.conns,
        hops: &mut worker.hops,
        paths: &mut worker.paths,
        counters: &mut worker.counters,
        book: &worker.book,
        modes: worker.snapshot.modes(),
    };
    for packet in worker.batch.packets_mut() {
        if packet.plain && rewriting.at_once(packet).is_some() {
            continue;
        }
        if let Some(hit) = packet.hit
            && packet.is_open()
        {
            rewriting.closely(packet, hit);
        }
    }
}

/// What rewriting needs of a worker.
struct Rewriting<'a> {
    now: Time,
    stamp: Stamp,
    /// Longer packets may be too long for their way.
    large: u32,
    ignore_df: bool,
    conns: &'a mut ConnTable,
    hops: &'a mut HopCache,
    paths: &'a mut Paths,
    counters: &'a mut Counters,
    book: &'a TrafficBook,
    modes: &'a [Arc<dyn Mode>],
}

impl Rewriting<'_> {
    /// A plain packet's way; `None`, and nothing about the packet changed, if there is more to it.
    #[inline(always)]
    fn at_once(&mut self, packet: &mut Packet) -> Option<()> {
        let hit = packet.hit?;
        let len = packet.ip_len();
        if len > self.large || packet.reassembled.is_some() {
            return None;
        }
        let conn = self.conns.prolong(hit, self.stamp)?;
        let to = goes_to(conn, hit.direction);
        let hop = *self.hops.reachable(to)?;
        take_hop(packet)?;
        count(self.book, conn.dest(), hit.direction, len);
        packet.frame.truncate(packet.headers.end);
        (packet.route_to, packet.ignore_df) = (to, self.ignore_df);
        packet.verdict = Some(Verdict::Tx(hop.egress));
        let mode = &self.modes[usize::from(conn.mode())];
        mode.rewrite(packet, conn, hit.direction, self.hops);
        // Not before: a mode that moves the header would wait for it to be written.
        if let Some(ethernet) = EthernetHeader::of_mut(packet.frame.bytes_mut()) {
            ethernet.set_ends(hop.ends.octets());
        }
        if packet.without_client_address {
            self.counters.count(Counter::NoRoomForClientAddress, 1);
        }
        Some(())
    }
}

/// Where packets in this direction go.
#[inline(always)]
fn goes_to(conn: Conn<'_>, direction: Direction) -> Addr {
    match direction {
        Direction::Inbound => conn.rip().addr,
        Direction::Outbound => conn.client().addr,
    }
}

/// Counts a packet for its conn's server (kernel `ip_vs_in_stats`, `ip_vs_out_stats`).
#[inline(always)]
fn count(book: &TrafficBook, dest: &Dest, direction: Direction, bytes: u32) {
    match direction {
        Direction::Inbound => book.inbound(dest.slot(), bytes.into()),
        Direction::Outbound => book.outbound(dest.slot(), bytes.into()),
    }
}

/// `None` if there is no hop left to take.
#[inline(always)]
pub fn take_hop(packet: &mut Packet) -> Option<()> {
    let (l3, is_v4) = (usize::from(packet.headers.l3), packet.is_v4());
    let frame = packet.frame.bytes_mut();
    if is_v4 {
        let ip = Ipv4Header::at_mut(frame, l3).filter(|ip| ip.ttl > 1)?;
        ip.decrement_ttl();
    } else {
        let ip = Ipv6Header::at_mut(frame, l3).filter(|ip| ip.hop_limit > 1)?;
        ip.hop_limit -= 1;
    }
    Some(())
}

/// Adds what a sender left to a device to a parsed packet's checksum.
pub fn complete_checksum(packet: &mut Packet) {
    let is_v4 = packet.is_v4();
    let (l3, l4, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
        usize::from(packet.headers.end),
    );
    let bytes = &mut packet.frame.bytes_mut()[l3..end];
    if is_v4 {
        checksum::complete_partial_v4(bytes, l4 - l3);
    } else {
        checksum::complete_partial_v6(bytes, l4 - l3, packet.flow.protocol as u8);
    }
}
