//! Replacing one end of a packet: address, port and the checksums over both.

use lb_model::{DropReason, Endpoint, Packet, Protocol, Verdict};
use lb_wire::checksum::{self, Change};
use lb_wire::{Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use zerocopy::network_endian::U16;

/// Makes `new` the packet's source.
pub fn replace_source(packet: &mut Packet, new: Endpoint) {
    replace(packet, End::Source, new);
}

/// Makes `new` the packet's destination.
pub fn replace_destination(packet: &mut Packet, new: Endpoint) {
    replace(packet, End::Destination, new);
}

enum End {
    Source,
    Destination,
}

fn replace(packet: &mut Packet, end: End, new: Endpoint) {
    if try_replace(packet, end, new).is_none() {
        packet.verdict = Some(Verdict::Drop(DropReason::Malformed));
    }
}

/// `None` if the frame does not hold the headers that the parser found in it, or if the new end is of another address
/// family: a configuration with such servers is refused.
fn try_replace(packet: &mut Packet, end: End, new: Endpoint) -> Option<()> {
    let (l3, l4, end_of_packet) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
        usize::from(packet.headers.end),
    );
    let frame = packet.frame.bytes_mut();
    let change = match (packet.flow.source.addr.is_v4(), new.addr.as_v4()) {
        (true, Some(addr)) => {
            let ip = Ipv4Header::at_mut(frame, l3)?;
            match end {
                End::Source => ip.replace_source(addr),
                End::Destination => ip.replace_destination(addr),
            }
        }
        (false, None) => {
            let ip = Ipv6Header::at_mut(frame, l3)?;
            let addr = *new.addr.octets();
            match end {
                End::Source => ip.replace_source(addr),
                End::Destination => ip.replace_destination(addr),
            }
        }
        _ => return None,
    };
    match packet.flow.protocol {
        Protocol::Tcp => {
            let tcp = TcpHeader::at_mut(frame, l4)?;
            let port = match end {
                End::Source => &mut tcp.source,
                End::Destination => &mut tcp.destination,
            };
            tcp.checksum = replace_port(port, new.port, change).apply(tcp.checksum);
        }
        Protocol::Udp => {
            let udp = UdpHeader::at_mut(frame, l4)?;
            let port = match end {
                End::Source => &mut udp.source,
                End::Destination => &mut udp.destination,
            };
            let change = replace_port(port, new.port, change);
            if udp.checksum == U16::ZERO && new.addr.as_v4().is_none() {
                // As IPVS does: what came without is sent with one.
                checksum::compute_udp_v6(frame.get_mut(l3..end_of_packet)?, l4 - l3);
            } else {
                udp.checksum = change.apply_udp(udp.checksum);
            }
        }
    }
    Some(())
}

fn replace_port(port: &mut U16, new: u16, change: Change) -> Change {
    let old = port.get();
    port.set(new);
    change.word(old, new)
}
