//! PROXY protocol version 2 before the payload of datagrams. `docs/wire-formats.md` says why of every one.

use lb_model::{Conn, DropReason, Endpoint, Introduction, Packet, Verdict};
use lb_wire::UdpHeader;
use lb_wire::checksum::Change;
use zerocopy::network_endian::U16;

use crate::insert::insert;
use crate::tcp_option::joined;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;
/// Family and transport: UDP over IPv4, UDP over IPv6.
const UDP_V4: u8 = 0x12;
const UDP_V6: u8 = 0x22;

const V4_LEN: usize = 28;
const V6_LEN: usize = 52;

/// A datagram from the client. One that has no room for the header ends here: its server would
/// take the payload for a header.
#[inline(always)]
pub fn inbound(packet: &mut Packet, conn: Conn<'_>) {
    if conn.introduction() == Introduction::ProxyV2 && add(packet, conn).is_none() {
        packet.verdict = Some(Verdict::Drop(DropReason::TooBig));
    }
}

/// What it adds to a conn's datagrams from the client.
pub fn overhead(conn: Conn<'_>) -> usize {
    match (conn.introduction(), conn.client().addr.is_v4()) {
        (Introduction::ProxyV2, true) => V4_LEN,
        (Introduction::ProxyV2, false) => V6_LEN,
        _ => 0,
    }
}

#[inline(never)]
fn add(packet: &mut Packet, conn: Conn<'_>) -> Option<()> {
    let (client, vip) = (conn.client(), conn.vip());
    match (client.addr.as_v4(), vip.addr.as_v4()) {
        (Some(source), Some(destination)) => {
            let start: [u8; 16] = joined(&SIGNATURE, &[VERSION_COMMAND, UDP_V4, 0, 12]);
            let ends: [u8; 12] = joined(
                &joined::<4, 4, 8>(&source, &destination),
                &ports(client, vip),
            );
            add_header::<V4_LEN>(packet, &joined(&start, &ends))
        }
        _ => {
            let start: [u8; 16] = joined(&SIGNATURE, &[VERSION_COMMAND, UDP_V6, 0, 36]);
            let addresses = joined::<16, 16, 32>(client.addr.octets(), vip.addr.octets());
            let ends: [u8; 36] = joined(&addresses, &ports(client, vip));
            add_header::<V6_LEN>(packet, &joined(&start, &ends))
        }
    }
}

fn ports(client: Endpoint, vip: Endpoint) -> [u8; 4] {
    joined(&client.port.to_be_bytes(), &vip.port.to_be_bytes())
}

fn add_header<const LENGTH: usize>(packet: &mut Packet, header: &[u8; LENGTH]) -> Option<()> {
    let l4 = usize::from(packet.headers.l4);
    insert(packet, l4 + UdpHeader::LEN, header).ok()?;
    let udp = UdpHeader::at_mut(packet.frame.bytes_mut(), l4)?;
    let (old, new) = (udp.len.get(), udp.len.get().checked_add(LENGTH as u16)?);
    udp.len = U16::new(new);
    // The length counts twice: the pseudo-header has it, too.
    let change = Change::default().word(old, new).word(old, new);
    udp.checksum = change.added(header).apply_udp(udp.checksum);
    Some(())
}
