//! PROXY protocol version 2 before the payload of datagrams. `docs/wire-formats.md` says why of every one.

use arrayvec::ArrayVec;
use lb_model::{Conn, DropReason, Introduction, Packet, Verdict};
use lb_wire::UdpHeader;
use lb_wire::checksum::Change;
use zerocopy::network_endian::U16;

use crate::insert::{insert, words_added};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;
/// Family and transport: UDP over IPv4, UDP over IPv6.
const UDP_V4: u8 = 0x12;
const UDP_V6: u8 = 0x22;

const V4_LEN: usize = 28;
const V6_LEN: usize = 52;

/// A datagram from the client, whose ends have been replaced. One that has no room for the header ends here: its server would
/// take the payload for a header.
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

fn add(packet: &mut Packet, conn: Conn<'_>) -> Option<()> {
    let header = header(conn);
    let l4 = usize::from(packet.headers.l4);
    insert(packet, l4 + UdpHeader::LEN, &header).ok()?;
    let udp = UdpHeader::at_mut(packet.frame.bytes_mut(), l4)?;
    let (old, new) = (
        udp.len.get(),
        udp.len.get().checked_add(header.len() as u16)?,
    );
    udp.len = U16::new(new);
    // The length counts twice: the pseudo-header has it, too.
    let change = Change::default().word(old, new).word(old, new);
    udp.checksum = words_added(change, &header).apply_udp(udp.checksum);
    Some(())
}

fn header(conn: Conn<'_>) -> ArrayVec<u8, V6_LEN> {
    let (client, vip) = (conn.client(), conn.vip());
    let mut header = ArrayVec::new();
    header.extend(SIGNATURE);
    match (client.addr.as_v4(), vip.addr.as_v4()) {
        (Some(source), Some(destination)) => {
            header.extend([VERSION_COMMAND, UDP_V4, 0, 12]);
            header.extend(source);
            header.extend(destination);
        }
        _ => {
            header.extend([VERSION_COMMAND, UDP_V6, 0, 36]);
            header.extend(*client.addr.octets());
            header.extend(*vip.addr.octets());
        }
    }
    header.extend(client.port.to_be_bytes());
    header.extend(vip.port.to_be_bytes());
    header
}
