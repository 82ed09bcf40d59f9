//! Replacing the ends of a packet: addresses, ports and the checksums over them.

use lb_model::{Conn, DropReason, End, Packet, Protocol, Verdict};
use lb_wire::checksum::{self, Change};
use lb_wire::{Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use zerocopy::network_endian::U16;

/// Makes these ends of its conn the packet's source and destination, as far as they are given.
///
/// Inlined, so that it is a straight line for each pair that is known.
#[inline(always)]
pub fn replace(packet: &mut Packet, conn: Conn<'_>, source: Option<End>, destination: Option<End>) {
    if try_replace(packet, conn, source, destination).is_none() {
        packet.verdict = Some(Verdict::Drop(DropReason::Malformed));
    }
}

/// `None` if the frame does not hold the headers that the parser found in it, or if a new end is of another address
/// family: a configuration with such servers is refused.
#[inline(always)]
fn try_replace(
    packet: &mut Packet,
    conn: Conn<'_>,
    source: Option<End>,
    destination: Option<End>,
) -> Option<()> {
    let (l3, l4, end_of_packet) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
        usize::from(packet.headers.end),
    );
    let (is_v4, protocol) = (packet.is_v4(), packet.flow.protocol);
    let frame = packet.frame.bytes_mut();
    let change = if is_v4 {
        let source = within(source, |end| conn.v4(end))?;
        let destination = within(destination, |end| conn.v4(end))?;
        Ipv4Header::at_mut(frame, l3)?.replace_ends(source, destination)
    } else {
        let source = within(source, |end| conn.v6(end))?;
        let destination = within(destination, |end| conn.v6(end))?;
        Ipv6Header::at_mut(frame, l3)?.replace_ends(source, destination)
    };
    let port = |end: Option<End>| end.map(|end| conn.port(end));
    match protocol {
        Protocol::Tcp => {
            let tcp = TcpHeader::at_mut(frame, l4)?;
            let change = replace_port(&mut tcp.source, port(source), change);
            let change = replace_port(&mut tcp.destination, port(destination), change);
            tcp.checksum = change.apply(tcp.checksum);
        }
        Protocol::Udp => {
            let udp = UdpHeader::at_mut(frame, l4)?;
            let change = replace_port(&mut udp.source, port(source), change);
            let change = replace_port(&mut udp.destination, port(destination), change);
            if udp.checksum == U16::ZERO && !is_v4 {
                // As IPVS does: what came without is sent with one.
                checksum::compute_udp_v6(frame.get_mut(l3..end_of_packet)?, l4 - l3);
            } else {
                udp.checksum = change.apply_udp(udp.checksum);
            }
        }
        // Not parsed, and so never here.
        Protocol::Sctp => return None,
    }
    Some(())
}

/// The address of an end in this family, if there is an end; `None` if it is of the other.
#[inline(always)]
fn within<A>(end: Option<End>, family: impl Fn(End) -> Option<A>) -> Option<Option<A>> {
    match end {
        Some(end) => family(end).map(Some),
        None => Some(None),
    }
}

#[inline(always)]
fn replace_port(port: &mut U16, new: Option<u16>, change: Change) -> Change {
    let Some(new) = new else { return change };
    let old = port.get();
    port.set(new);
    change.word(old, new)
}
