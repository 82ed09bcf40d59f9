//! Replacing the ends of a packet: addresses, ports and the checksums over them.

use lb_model::{Addr, DropReason, Endpoint, Packet, Protocol, Verdict};
use lb_wire::checksum::{self, Change};
use lb_wire::{Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use zerocopy::network_endian::U16;

/// Makes `new` the packet's source.
pub fn replace_source(packet: &mut Packet, new: Endpoint) {
    replace(packet, Some(new), None);
}

/// Makes `new` the packet's destination.
pub fn replace_destination(packet: &mut Packet, new: Endpoint) {
    replace(packet, None, Some(new));
}

/// Makes these the packet's source and destination.
pub fn replace_both(packet: &mut Packet, source: Endpoint, destination: Endpoint) {
    replace(packet, Some(source), Some(destination));
}

/// Inlined, so that each of the three above is a straight line.
#[inline(always)]
fn replace(packet: &mut Packet, source: Option<Endpoint>, destination: Option<Endpoint>) {
    if try_replace(packet, source, destination).is_none() {
        packet.verdict = Some(Verdict::Drop(DropReason::Malformed));
    }
}

/// `None` if the frame does not hold the headers that the parser found in it, or if a new end is of another address
/// family: a configuration with such servers is refused.
#[inline(always)]
fn try_replace(
    packet: &mut Packet,
    source: Option<Endpoint>,
    destination: Option<Endpoint>,
) -> Option<()> {
    let (l3, l4, end_of_packet) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
        usize::from(packet.headers.end),
    );
    let (is_v4, protocol) = (packet.is_v4(), packet.flow.protocol);
    let frame = packet.frame.bytes_mut();
    let change = if is_v4 {
        let source = within(source, |addr| addr.as_v4())?;
        let destination = within(destination, |addr| addr.as_v4())?;
        Ipv4Header::at_mut(frame, l3)?.replace_ends(source, destination)
    } else {
        let source = within(source, as_v6)?;
        let destination = within(destination, as_v6)?;
        Ipv6Header::at_mut(frame, l3)?.replace_ends(source, destination)
    };
    match protocol {
        Protocol::Tcp => {
            let tcp = TcpHeader::at_mut(frame, l4)?;
            let change = replace_port(&mut tcp.source, source, change);
            let change = replace_port(&mut tcp.destination, destination, change);
            tcp.checksum = change.apply(tcp.checksum);
        }
        Protocol::Udp => {
            let udp = UdpHeader::at_mut(frame, l4)?;
            let change = replace_port(&mut udp.source, source, change);
            let change = replace_port(&mut udp.destination, destination, change);
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

fn as_v6(addr: Addr) -> Option<[u8; 16]> {
    (!addr.is_v4()).then(|| *addr.octets())
}

/// The address of an end in this family, if there is an end; `None` if it is of the other.
#[inline(always)]
fn within<A>(end: Option<Endpoint>, family: impl Fn(Addr) -> Option<A>) -> Option<Option<A>> {
    match end {
        Some(end) => family(end.addr).map(Some),
        None => Some(None),
    }
}

#[inline(always)]
fn replace_port(port: &mut U16, new: Option<Endpoint>, change: Change) -> Change {
    let Some(new) = new else { return change };
    let old = port.get();
    port.set(new.port);
    change.word(old, new.port)
}
