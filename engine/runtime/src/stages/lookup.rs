//! Stage 3: the conn that a packet belongs to, unless it begins a new one in its place (kernel `ip_vs_in_hook`).
//!
//! Ends: [`PuntReason::NotOurs`], for an ICMP error about nothing of ours; [`DropReason::DestGone`]; and [`Verdict::Hand`],
//! for what another worker has the conn of.

use lb_conn::{ConnTable, Guess, Hash, prefetch};
use lb_model::{
    BATCH, Batch, Direction, DropReason, Hit, IpvsSettings, Packet, PuntReason, Verdict,
};
use lb_wire::TcpFlags;

use super::parse;

/// What is known of a batch at first. Copied as a whole: filled in field by field it would take four writes for each packet.
const NOWHERE: [(Hash, Guess); BATCH] = [(Hash::NONE, Guess::NONE); BATCH];

/// In three rounds, so that the waits for memory overlap: what all flows hash to, the conns that are probably meant, and
/// whether they are. How many packets are left that have no conn and have not ended.
pub fn run(batch: &mut Batch, conns: &ConnTable, settings: &IpvsSettings) -> usize {
    let mut places = NOWHERE;
    for (packet, (hash, _)) in batch.packets().iter().zip(&mut places) {
        let flow_hash = match packet.flow_hash {
            None => conns.flow_hash(&packet.flow),
            Some(known) => {
                debug_assert_eq!(known, conns.flow_hash(&packet.flow), "one key for all");
                expect_handed(packet);
                known
            }
        };
        *hash = conns.place(flow_hash);
        conns.prefetch(*hash);
    }
    conns.guess(&mut places[..batch.len()]);
    let mut misses = 0;
    for (packet, (hash, guess)) in batch.packets_mut().iter_mut().zip(&places) {
        if packet.plain
            && let Some(hit) = conns.confirm(*guess, &packet.flow)
            && conns.dest(hit.conn).is_available()
        {
            packet.hit = Some(hit);
        } else if packet.is_open() && !is_anothers(packet, (*hash, *guess), conns) {
            look_closer(packet, (*hash, *guess), conns, settings);
            misses += usize::from(packet.hit.is_none() && packet.is_open());
        }
    }
    misses
}

/// The worker that handed the packet over has looked at its headers, and this one will not before it changes them.
#[inline(always)]
fn expect_handed(packet: &Packet) {
    if let Some(first) = packet.frame.first() {
        prefetch(first);
    }
}

/// What is not here is another worker's as a rule, if it is of a conn at all.
#[inline(always)]
fn is_anothers(packet: &mut Packet, (hash, guess): (Hash, Guess), conns: &ConnTable) -> bool {
    if guess != Guess::NONE {
        return false;
    }
    let Some(owner) = elsewhere(packet, hash, conns) else {
        return false;
    };
    packet.flow_hash = Some(hash.of_flow());
    packet.verdict = Some(Verdict::Hand(owner));
    true
}

#[inline(never)]
fn look_closer(
    packet: &mut Packet,
    (hash, guess): (Hash, Guess),
    conns: &ConnTable,
    settings: &IpvsSettings,
) {
    packet.flow_hash = Some(hash.of_flow());
    packet.hit = conns.find_guessed(guess, hash, &packet.flow);
    match packet.hit {
        // Where nothing was guessed that was asked already.
        None if guess != Guess::NONE
            && let Some(owner) = elsewhere(packet, hash, conns) =>
        {
            packet.verdict = Some(Verdict::Hand(owner));
        }
        _ if packet.related.is_some() => related(packet, conns),
        Some(hit) if hit.direction == Direction::Inbound => {
            inbound(packet, hit, conns, settings);
        }
        _ => {}
    }
    let is_there = |hit: Hit| conns.dest(hit.conn).is_available();
    packet.plain = packet.plain && packet.hit.is_none_or(is_there);
}

/// Which other worker has the packet's conn, unless it was one that took this one for that.
#[inline]
fn elsewhere(packet: &Packet, hash: Hash, conns: &ConnTable) -> Option<u16> {
    if packet.handed {
        return None;
    }
    conns.owner(hash)
}

fn inbound(packet: &mut Packet, hit: Hit, conns: &ConnTable, settings: &IpvsSettings) {
    let dest = conns.dest(hit.conn);
    let is_available = dest.is_available();
    // Datagrams have no flags.
    let syn = TcpFlags(packet.headers.tcp_flags).has(TcpFlags::SYN);
    let begins_anew = syn
        && ((settings.expire_nodest_conn && dest.weight() == 0)
            || conns.expects_new(hit.conn, settings.conn_reuse_mode));
    if begins_anew || (!is_available && settings.expire_nodest_conn) {
        packet.superseded = Some(hit.conn);
        packet.hit = None;
    } else if !is_available {
        packet.verdict = Some(Verdict::Drop(DropReason::DestGone));
    }
}

/// An ICMP error never opens a conn. One about a UDP packet of none may be about what that carried.
fn related(packet: &mut Packet, conns: &ConnTable) {
    if packet.hit.is_none() && parse::look_into_gue(packet) {
        packet.hit = conns.find(&packet.flow);
    }
    if packet.hit.is_none() {
        packet.verdict = Some(match elsewhere(packet, conns.hash(&packet.flow), conns) {
            Some(owner) => Verdict::Hand(owner),
            None => Verdict::Punt(PuntReason::NotOurs),
        });
    }
}
