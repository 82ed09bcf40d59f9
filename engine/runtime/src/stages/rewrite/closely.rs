//! The way of a packet that is not plain: it begins or ends its conn, is an ICMP error or large, has options, a checksum that
//! is not complete or no hop left, or its next hop is not known.

use lb_model::{
    Direction, DropReason, Hit, Packet, PuntReason, Related, Replies, Resolution, Verdict,
};
use lb_wire::{Ipv4Header, Ipv6Header, TcpFlags};

use super::{Rewriting, complete_checksum, count, goes_to, take_hop};
use crate::counters::Counter;
use crate::paths::LEAST_MTU_V6;
use crate::stages::route::route;
use crate::stages::{options, relay};

impl Rewriting<'_> {
    /// Rewrites and routes a packet of a conn.
    #[inline(never)]
    pub fn closely(&mut self, packet: &mut Packet, hit: Hit) {
        packet.verdict = match packet.related {
            Some(related) => self.follow_error(packet, related, hit),
            None => self.follow(packet, hit),
        };
        if !packet.is_open() {
            return;
        }
        let conn = self.conns.conn(hit.conn);
        packet.route_to = goes_to(conn, hit.direction);
        let mode = &self.modes[usize::from(conn.mode())];
        mode.rewrite(packet, conn, hit.direction, self.hops);
        if !packet.is_open() {
            return;
        }
        if packet.without_client_address {
            self.counters.count(Counter::NoRoomForClientAddress, 1);
        }
        let way = self.hops.resolve(packet.route_to);
        if way == Resolution::Unreachable && self.is_for_own_server(packet, hit) {
            packet.verdict = Some(Verdict::Punt(PuntReason::OwnServer));
        } else {
            route(packet, way);
        }
    }

    /// What all modes share before they differ.
    fn follow(&mut self, packet: &mut Packet, hit: Hit) -> Option<Verdict> {
        let has_options = options::has(packet);
        if has_options && let Some(refused) = options::refuse(packet) {
            return Some(refused);
        }
        let bytes = packet.ip_len();
        if !packet.opened {
            let flags = TcpFlags(packet.headers.tcp_flags);
            self.conns.packet(hit, flags, self.now);
        }
        let has_hop = take_hop(packet).is_some();
        // The kernel looks at the TTL of a server's packet before IPVS sees it, and at a client's after.
        if has_hop || hit.direction == Direction::Inbound {
            self.count(hit, bytes);
        }
        if !has_hop {
            return Some(Verdict::Drop(DropReason::TtlExceeded));
        }
        packet.ignore_df = self.ignore_df;
        let verdict = if bytes > self.large {
            self.check_size(packet, hit)
        } else {
            None
        };
        trim(packet);
        complete_checksum(packet);
        if has_options && let Some(vip) = self.conns.conn(hit.conn).vip().addr.as_v4() {
            options::record(packet, vip, self.now);
        }
        verdict
    }

    /// Counts a packet for its conn's server, unless that was removed.
    fn count(&self, hit: Hit, bytes: u32) {
        let dest = self.conns.dest(hit.conn);
        if dest.is_available() {
            count(self.book, dest, hit.direction, bytes);
        }
    }

    /// Whether the server is this machine, and the packet as its kernel would have it from another balancer.
    #[cold]
    fn is_for_own_server(&self, packet: &Packet, hit: Hit) -> bool {
        self.conns.conn(hit.conn).replies() == Replies::Direct
            && !packet.encapsulated
            && self.hops.next_hops().is_local(packet.route_to)
    }

    /// What becomes of an ICMP error, unless the mode of its conn carries it like any packet.
    #[cold]
    fn follow_error(&mut self, packet: &mut Packet, related: Related, hit: Hit) -> Option<Verdict> {
        let bytes = packet.ip_len();
        if options::has(packet)
            && let Some(refused) = options::refuse(packet)
        {
            return Some(refused);
        }
        let verdict = self.carry_error(packet, related, hit);
        let dropped = matches!(verdict, Some(Verdict::Drop(_)));
        if !dropped && related.tunnel.is_none() {
            self.count(hit, bytes);
        }
        verdict
    }

    fn carry_error(&mut self, packet: &mut Packet, related: Related, hit: Hit) -> Option<Verdict> {
        let conn = self.conns.conn(hit.conn);
        let mode = &*self.modes[usize::from(conn.mode())];
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
                let Resolution::Reachable(hop) = self.hops.resolve(rip) else {
                    return Some(Verdict::Drop(DropReason::NoRoute));
                };
                // As IPVS: what it knew before. The next large packet is told what is known from now on.
                let known = self.paths.mtu_in_use(rip, hop.mtu, self.now);
                let fits = known.saturating_sub(overhead);
                let Some(message) = relay::message_to_client(packet, fits) else {
                    return Some(Verdict::Punt(PuntReason::NotOurs));
                };
                if let Some(mtu) = relay::told_mtu(packet) {
                    self.paths.learn(rip, mtu, self.now);
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
        let way = self.hops.resolve(packet.route_to);
        route(packet, way);
        packet.verdict
    }

    /// The end of a packet that is too large for its way and may not be taken apart; its sender is told what fits (kernel
    /// `ensure_mtu_is_adequate`).
    #[cold]
    fn check_size(&mut self, packet: &mut Packet, hit: Hit) -> Option<Verdict> {
        let conn = self.conns.conn(hit.conn);
        let mode = &*self.modes[usize::from(conn.mode())];
        let inbound = hit.direction == Direction::Inbound;
        let to = goes_to(conn, hit.direction);
        let overhead = mode.overhead(conn, hit.direction) as u32;
        // Where the way is not known yet, `route` looks again.
        let Resolution::Reachable(hop) = self.hops.resolve(to) else {
            return None;
        };
        packet.path_mtu = self.paths.mtu_to(to, hop.mtu, self.now);
        packet.encapsulated = overhead > 0;
        let fits = packet.path_mtu.saturating_sub(overhead);
        let l3 = packet.headers.l3;
        let longest = match packet.reassembled {
            Some(came) => came.longest,
            None => packet.ip_len(),
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

/// Ethernet padding is not the packet's. The kernel does not forward it either; a link that needs some adds its own.
fn trim(packet: &mut Packet) {
    packet.frame.truncate(packet.headers.end);
}
