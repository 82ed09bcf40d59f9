//! The IP option that tells a server of the client of a datagram: over IPv4 DPVS's UOA or ENAT's longer form, over IPv6 a
//! destination option. `docs/wire-formats.md` has the bytes.

use lb_model::{Conn, Endpoint, HopCache, Introduction, Packet};
use lb_wire::checksum::Change;
use lb_wire::{Ipv4Header, Ipv6Header};

use crate::insert::{NoRoom, fits, insert};
use crate::tcp_option::{Bytes, Form, joined};

/// The kind over IPv4: copied flag 0, class 0 (control), number 31.
const KIND_V4: u8 = 31;
/// The type over IPv6, RFC 4727 section 4: experimental, skipped by who does not know it, not changed on the way.
const KIND_V6: u8 = 0x1e;
const LONGEST_V4_HEADER: usize = 60;

const END_OF_LIST: u8 = 0;
const NO_OPERATION: u8 = 1;
const PAD_1: u8 = 0;
const PAD_N: u8 = 1;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// A datagram from the client: what it says of its sender itself goes, and what we say comes if
/// the conn is still at that.
#[inline(always)]
pub fn inbound(packet: &mut Packet, conn: Conn<'_>, form: Form, hops: &mut HopCache) {
    if let Introduction::IpOption(left) = conn.introduction()
        && (left > 0 || has_options(packet))
    {
        introduce(packet, conn, form, hops, left);
    }
}

/// Or, over IPv6, extension headers.
#[inline(always)]
fn has_options(packet: &Packet) -> bool {
    let header = if packet.is_v4() {
        Ipv4Header::LEN
    } else {
        Ipv6Header::LEN
    };
    usize::from(packet.headers.l4 - packet.headers.l3) > header
}

/// `left` more datagrams are to say it.
#[inline(never)]
fn introduce(packet: &mut Packet, conn: Conn<'_>, form: Form, hops: &mut HopCache, left: u8) {
    if packet.is_v4() {
        remove_forged_v4(packet);
    } else {
        remove_forged_v6(packet);
    }
    let Some(left) = left.checked_sub(1) else {
        return;
    };
    conn.introduced(Introduction::IpOption(left));
    let (client, vport) = (conn.client(), conn.vip().port);
    let added = match form.bytes(KIND_V4, client, vport) {
        Bytes::Toa(option) => add_v4(packet, &option, hops),
        Bytes::Enat(option) => add_v4(packet, &option, hops),
        Bytes::V6(_) => add_v6(packet, client, vport, hops),
    };
    if added.is_err() {
        packet.without_client_address = true;
    }
}

/// Puts `option` first among the options.
fn add_v4<const LENGTH: usize>(
    packet: &mut Packet,
    option: &[u8; LENGTH],
    hops: &mut HopCache,
) -> Result<(), NoRoom> {
    let l3 = usize::from(packet.headers.l3);
    let ip = Ipv4Header::at(packet.frame.bytes(), l3).ok_or(NoRoom)?;
    if ip.header_len() + LENGTH > LONGEST_V4_HEADER || !fits(packet, LENGTH, hops) {
        return Err(NoRoom);
    }
    insert(packet, l3 + Ipv4Header::LEN, option)?;
    if let Some(ip) = Ipv4Header::at_mut(packet.frame.bytes_mut(), l3) {
        let old = u16::from_be_bytes([ip.version_ihl, ip.tos]);
        ip.version_ihl += (LENGTH / 4) as u8;
        let new = u16::from_be_bytes([ip.version_ihl, ip.tos]);
        let change = Change::default().word(old, new).added(option);
        ip.checksum = change.apply(ip.checksum);
    }
    Ok(())
}

/// Puts an option of port, address and port into a header of its own, after the Hop-by-Hop header if there is one: that must
/// come first (RFC 8200 section 4.1).
fn add_v6(
    packet: &mut Packet,
    client: Endpoint,
    vport: u16,
    hops: &mut HopCache,
) -> Result<(), NoRoom> {
    let l3 = usize::from(packet.headers.l3);
    let ip = Ipv6Header::at(packet.frame.bytes(), l3).ok_or(NoRoom)?;
    let mut at = l3 + Ipv6Header::LEN;
    let mut next_field = l3 + 6;
    if ip.next_header == HOP_BY_HOP {
        let frame = packet.frame.bytes();
        next_field = at;
        at += 8 + 8 * usize::from(*frame.get(at + 1).ok_or(NoRoom)?);
    }
    let next = *packet.frame.bytes().get(next_field).ok_or(NoRoom)?;
    let [cport_high, cport_low] = client.port.to_be_bytes();
    let [vport_high, vport_low] = vport.to_be_bytes();
    // In units of eight bytes beyond the first: two.
    let start = [next, 2, KIND_V6, 20, cport_high, cport_low];
    let client: [u8; 22] = joined(&start, client.addr.octets());
    let header: [u8; 24] = joined(&client, &[vport_high, vport_low]);
    if at > usize::from(packet.headers.l4) || !fits(packet, header.len(), hops) {
        return Err(NoRoom);
    }
    insert(packet, at, &header)?;
    packet.frame.bytes_mut()[next_field] = DESTINATION_OPTIONS;
    Ok(())
}

fn remove_forged_v4(packet: &mut Packet) {
    let (l3, l4) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
    );
    let frame = packet.frame.bytes_mut();
    let mut change = Change::default();
    let mut at = l3 + Ipv4Header::LEN;
    while at < l4 {
        let len = match frame[at] {
            END_OF_LIST => break,
            NO_OPERATION => 1,
            kind => {
                let len = usize::from(frame[at + 1]);
                if len < 2 || at + len > l4 {
                    break;
                }
                if kind == KIND_V4 {
                    for (place, byte) in (at - l3..).zip(&mut frame[at..at + len]) {
                        change = change.byte(place, *byte, NO_OPERATION);
                        *byte = NO_OPERATION;
                    }
                }
                len
            }
        };
        at += len;
    }
    if let Some(ip) = Ipv4Header::at_mut(frame, l3) {
        ip.checksum = change.apply(ip.checksum);
    }
}

fn remove_forged_v6(packet: &mut Packet) {
    let (l3, l4) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
    );
    let frame = packet.frame.bytes_mut();
    let Some(ip) = Ipv6Header::at(frame, l3) else {
        return;
    };
    let (mut kind, mut at) = (ip.next_header, l3 + Ipv6Header::LEN);
    while at + 8 <= l4 && [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS].contains(&kind) {
        let end = (at + 8 + 8 * usize::from(frame[at + 1])).min(l4);
        if kind == DESTINATION_OPTIONS {
            pad_forged(&mut frame[at + 2..end]);
        }
        (kind, at) = (frame[at], end);
    }
}

/// Makes padding of our option; nothing sums these bytes.
fn pad_forged(options: &mut [u8]) {
    let mut at = 0;
    while at + 1 < options.len() {
        if options[at] == PAD_1 {
            at += 1;
            continue;
        }
        let end = at + 2 + usize::from(options[at + 1]);
        if end > options.len() {
            return;
        }
        if options[at] == KIND_V6 {
            options[at] = PAD_N;
            options[at + 2..end].fill(0);
        }
        at = end;
    }
}
