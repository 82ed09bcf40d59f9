//! Stage 6: the conn's state, the TTL, the size, what the mode changes, the way out.
//!
//! Ends: [`DropReason::TtlExceeded`], [`DropReason::NoRoute`], [`DropReason::TooBig`], [`PuntReason::OwnServer`], and what a mode finds wrong.

use std::mem;
use std::sync::Arc;

use arrayvec::ArrayVec;
use lb_conn::ConnTable;
use lb_model::{
    BATCH, Batch, Dest, Direction, DropReason, Hit, Hop, HopCache, Mode, Packet, Port, PuntReason,
    Related, Replies, Resolution, Time, Verdict, Work,
};
use lb_wire::{EthernetHeader, Ipv4Header, Ipv6Header, TcpFlags, checksum};

use super::{options, relay};
use crate::counters::Counter;
use crate::paths::LEAST_MTU_V6;
use crate::traffic_book::TrafficBook;
use crate::worker::Worker;

/// More than any mode puts around a packet.
const MOST_OVERHEAD: u32 = 128;

pub fn run<P: Port>(worker: &mut Worker<P>, now: Time) {
    let modes_in_use = follow(worker, now);
    for (id, mode) in worker.snapshot.modes().iter().enumerate() {
        if modes_in_use & 1 << id != 0 {
            let (conns, hops) = (&worker.conns, &mut worker.hops);
            rewrite(&mut worker.batch, conns, id as u8, &**mode, hops);
        }
    }
    for packet in worker.batch.open_mut() {
        if packet.without_client_address {
            worker.counters.count(Counter::NoRoomForClientAddress, 1);
        }
        if let Some(hop) = worker.hops.known(packet.route_to)
            && leaves_at_once(packet, hop)
        {
            continue;
        }
        let way = worker.hops.resolve(packet.route_to);
        if way == Resolution::Unreachable && is_for_own_server(packet, &worker.conns, &worker.hops)
        {
            packet.verdict = Some(Verdict::Punt(PuntReason::OwnServer));
        } else {
            route(packet, way);
        }
    }
}

/// Whether the server is this machine, and the packet as its kernel would have it from another balancer.
#[cold]
fn is_for_own_server(packet: &Packet, conns: &ConnTable, hops: &HopCache) -> bool {
    let is_direct = |hit: Hit| conns.conn(hit.conn).replies() == Replies::Direct;
    packet.hit.is_some_and(is_direct)
        && !packet.encapsulated
        && hops.next_hops().is_local(packet.route_to)
}

/// What all modes share before they differ; returns the modes of the batch's conns as a bit set.
fn follow<P: Port>(worker: &mut Worker<P>, now: Time) -> u64 {
    let mut batch = mem::take(&mut worker.batch);
    let smallest = worker.smallest_mtu.min(worker.paths.smallest());
    let large = smallest.saturating_sub(MOST_OVERHEAD);
    let ignore_df = !worker.snapshot.settings().pmtu_disc;
    let mut modes = 0;
    for packet in batch.open_mut() {
        let Some(hit) = packet.hit else { continue };
        let has_options = options::has(packet);
        if has_options && let Some(refused) = options::refuse(packet) {
            packet.verdict = Some(refused);
            continue;
        }
        let bytes = packet.headers.end - packet.headers.l3;
        if let Some(related) = packet.related {
            modes |= 1 << worker.conns.conn(hit.conn).mode();
            packet.verdict = follow_error(worker, packet, related, hit, now);
            let dropped = matches!(packet.verdict, Some(Verdict::Drop(_)));
            if !dropped && related.tunnel.is_none() {
                let dest = worker.conns.dest(hit.conn);
                count(&worker.book, dest, hit.direction, bytes);
            }
            continue;
        }
        let flags = TcpFlags(packet.headers.tcp_flags);
        let (mode, dest) = worker.conns.packet(hit, flags, now);
        modes |= 1 << mode;
        let has_hop = take_hop(packet).is_some();
        // The kernel looks at the TTL of a server's packet before IPVS sees it, and at a client's after.
        if has_hop || hit.direction == Direction::Inbound {
            count(&worker.book, dest, hit.direction, bytes);
        }
        if !has_hop {
            packet.verdict = Some(Verdict::Drop(DropReason::TtlExceeded));
            continue;
        }
        packet.ignore_df = ignore_df;
        if u32::from(bytes) > large {
            packet.verdict = check_size(worker, packet, hit, now);
        }
        trim(packet);
        complete_checksum(packet);
        if has_options && let Some(vip) = worker.conns.conn(hit.conn).vip().addr.as_v4() {
            options::record(packet, vip, now);
        }
    }
    worker.batch = batch;
    modes
}

/// Counts a packet for its conn's server, unless that was removed (kernel `ip_vs_in_stats`, `ip_vs_out_stats`).
#[inline(always)]
fn count(book: &TrafficBook, dest: &Dest, direction: Direction, bytes: u16) {
    if dest.is_available() {
        match direction {
            Direction::Inbound => book.inbound(dest.slot(), bytes.into()),
            Direction::Outbound => book.outbound(dest.slot(), bytes.into()),
        }
    }
}

/// What becomes of an ICMP error, unless the mode of its conn carries it like any packet.
#[cold]
fn follow_error<P: Port>(
    worker: &mut Worker<P>,
    packet: &mut Packet,
    related: Related,
    hit: Hit,
    now: Time,
) -> Option<Verdict> {
    let conn = worker.conns.conn(hit.conn);
    let snapshot = Arc::clone(&worker.snapshot);
    let mode = &*snapshot.modes()[usize::from(conn.mode())];
    if !relay::is_intact(packet) {
        return Some(Verdict::Drop(DropReason::Malformed));
    }
    trim(packet);
    let translated = match related.tunnel {
        Some(tunnel) => {
            let rip = conn.rip().addr;
            let overhead = mode.overhead(conn, Direction::Inbound) as u32;
            let is_ours = relay::is_of_tunnel(packet, tunnel, rip, conn.dest().tunnel());
            if !is_ours || !mode.tunnels() {
                return Some(Verdict::Punt(PuntReason::NotOurs));
            }
            let Resolution::Reachable(hop) = worker.hops.resolve(rip) else {
                return Some(Verdict::Drop(DropReason::NoRoute));
            };
            // As IPVS: what it knew before. The next large packet is told what is known from now on.
            let known = worker.paths.mtu_in_use(rip, hop.mtu, now);
            let fits = known.saturating_sub(overhead);
            let Some(message) = relay::message_to_client(packet, fits) else {
                return Some(Verdict::Punt(PuntReason::NotOurs));
            };
            if let Some(mtu) = relay::told_mtu(packet) {
                worker.paths.learn(rip, mtu, now);
            }
            relay::unwrap_tunnel(packet, related, message)
        }
        None if take_hop(packet).is_none() => Err(DropReason::TtlExceeded),
        None if relay::is_carried(conn, mode) => return None,
        None => relay::translate(packet, related, conn, mode, hit.direction),
    };
    if let Err(reason) = translated {
        return Some(Verdict::Drop(reason));
    }
    let way = worker.hops.resolve(packet.route_to);
    route(packet, way);
    packet.verdict
}

/// The end of a packet that is too large for its way and may not be taken apart; its sender is told what fits (kernel
/// `ensure_mtu_is_adequate`).
#[cold]
fn check_size<P: Port>(
    worker: &mut Worker<P>,
    packet: &mut Packet,
    hit: Hit,
    now: Time,
) -> Option<Verdict> {
    let conn = worker.conns.conn(hit.conn);
    let mode = &*worker.snapshot.modes()[usize::from(conn.mode())];
    let inbound = hit.direction == Direction::Inbound;
    let to = match hit.direction {
        Direction::Inbound => conn.rip().addr,
        Direction::Outbound => conn.client().addr,
    };
    let overhead = mode.overhead(conn, hit.direction) as u32;
    // Where the way is not known yet, `route` looks again.
    let Resolution::Reachable(hop) = worker.hops.resolve(to) else {
        return None;
    };
    packet.path_mtu = worker.paths.mtu_to(to, hop.mtu, now);
    packet.encapsulated = overhead > 0;
    let fits = packet.path_mtu.saturating_sub(overhead);
    let (l3, end) = (packet.headers.l3, packet.headers.end);
    let longest = match packet.reassembled {
        Some(came) => came.longest,
        None => u32::from(end - l3),
    };
    if longest <= fits {
        return None;
    }
    let told = if packet.flow.source.addr.is_v4() {
        let ip = Ipv4Header::at(packet.frame.bytes(), l3.into())?;
        if !ip.dont_fragment() || (inbound && packet.ignore_df) {
            return None;
        }
        fits
    } else if packet.encapsulated && longest <= LEAST_MTU_V6 {
        // Its sender cannot send less: the outer packet leaves in fragments (RFC 2473 section 7.1).
        return None;
    } else {
        fits.max(LEAST_MTU_V6)
    };
    packet.detail = told;
    if !inbound {
        // The kernel looks at the size before it counts the hop, where it forwards and not IPVS.
        give_hop_back(packet);
    }
    Some(Verdict::Drop(DropReason::TooBig))
}

fn give_hop_back(packet: &mut Packet) {
    let l3 = usize::from(packet.headers.l3);
    let frame = packet.frame.bytes_mut();
    if packet.flow.source.addr.is_v4() {
        if let Some(ip) = Ipv4Header::at_mut(frame, l3) {
            ip.increment_ttl();
        }
    } else if let Some(ip) = Ipv6Header::at_mut(frame, l3) {
        ip.hop_limit += 1;
    }
}

/// `None` if there is no hop left to take.
#[inline]
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

/// Ethernet padding is not the packet's. The kernel does not forward it either; a link that needs some adds its own.
#[inline]
fn trim(packet: &mut Packet) {
    let shrunk = packet.frame.resize(usize::from(packet.headers.end));
    debug_assert!(shrunk, "the parser found the packet within the frame");
}

/// Adds what a sender left to a device to a parsed packet's checksum.
#[inline]
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

fn rewrite(batch: &mut Batch, conns: &ConnTable, id: u8, mode: &dyn Mode, hops: &mut HopCache) {
    let mut group: ArrayVec<Work<'_>, BATCH> = batch
        .open_mut()
        .filter_map(|packet| {
            let hit = packet.hit?;
            let conn = conns.conn(hit.conn);
            (conn.mode() == id).then_some(Work {
                packet,
                conn,
                direction: hit.direction,
            })
        })
        .collect();
    mode.rewrite(&mut group, hops);
}

/// What [`route`] does, for a packet that leaves as it is; false, and nothing done, if it is not one.
#[inline(always)]
fn leaves_at_once(packet: &mut Packet, hop: &Hop) -> bool {
    let len = u32::from(packet.headers.end - packet.headers.l3);
    let in_one = len <= hop.mtu.min(packet.path_mtu) && packet.reassembled.is_none();
    match EthernetHeader::of_mut(packet.frame.bytes_mut()) {
        Some(ethernet) if in_one => {
            ethernet.destination = hop.destination.0;
            ethernet.source = hop.source.0;
            packet.verdict = Some(Verdict::Tx(hop.egress));
            true
        }
        _ => false,
    }
}

/// Gives the packet its Ethernet header and its verdict; also for a packet that has waited for its next hop.
#[cold]
pub fn route(packet: &mut Packet, way: Resolution) {
    let len = u32::from(packet.headers.end - packet.headers.l3);
    packet.verdict = Some(match way {
        Resolution::Reachable(hop) => {
            let mtu = hop.mtu.min(packet.path_mtu);
            let in_one = len <= mtu && packet.reassembled.is_none();
            packet.split = (!in_one).then_some(mtu);
            let fits = len <= mtu || may_be_split(packet);
            match EthernetHeader::of_mut(packet.frame.bytes_mut()) {
                _ if !fits => Verdict::Drop(DropReason::TooBig),
                Some(ethernet) => {
                    ethernet.destination = hop.destination.0;
                    ethernet.source = hop.source.0;
                    Verdict::Tx(hop.egress)
                }
                None => Verdict::Drop(DropReason::Malformed),
            }
        }
        Resolution::Unresolved { .. } => Verdict::Hold,
        Resolution::Unreachable => Verdict::Drop(DropReason::NoRoute),
    });
}

/// Whether the packet may leave in fragments: IPv4 without "don't fragment", what came in fragments, and IPv6 if it is
/// we who send it.
#[cold]
fn may_be_split(packet: &Packet) -> bool {
    let l3 = usize::from(packet.headers.l3);
    let ip = Ipv4Header::at(packet.frame.bytes(), l3);
    match ip.filter(|ip| ip.version() == 4) {
        Some(ip) => !ip.dont_fragment() || packet.reassembled.is_some(),
        None => packet.encapsulated || packet.reassembled.is_some(),
    }
}
