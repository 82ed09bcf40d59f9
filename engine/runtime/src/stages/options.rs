//! IPv4 options: what a router does with them.

use lb_model::{DropReason, Packet, Time, Verdict};
use lb_wire::Ipv4Header;
use lb_wire::checksum::{fold, sum};
use lb_wire::ipv4_options::{self, Asked, BadOption};
use zerocopy::network_endian::U16;

/// RFC 791: this is no time since midnight.
const NOT_SINCE_MIDNIGHT: u32 = 1 << 31;

/// Whether the packet, which is parsed, has IPv4 options.
#[inline]
pub fn has(packet: &Packet) -> bool {
    packet.is_v4() && usize::from(packet.headers.l4 - packet.headers.l3) > Ipv4Header::LEN
}

/// Why the packet is not forwarded, if its options are the reason.
#[cold]
pub fn refuse(packet: &mut Packet) -> Option<Verdict> {
    let (l3, l4) = (packet.headers.l3.into(), packet.headers.l4.into());
    let bytes: &[u8] = packet.frame.bytes().get(l3..l4)?;
    match ipv4_options::check(&bytes[Ipv4Header::LEN..]) {
        Ok(Asked::Nothing) => None,
        // As a router that does not accept_source_route, which is the kernel's default.
        Ok(Asked::SourceRoute) => Some(Verdict::Drop(DropReason::SourceRoute)),
        Err(BadOption(at)) => {
            packet.detail = (Ipv4Header::LEN + at) as u32;
            Some(Verdict::Drop(DropReason::BadOption))
        }
    }
}

/// Writes into options that ask for it that the packet came by. IPVS gives the service's address, in both directions.
#[cold]
pub fn record(packet: &mut Packet, vip: [u8; 4], now: Time) {
    let (l3, l4) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
    );
    let Some(header) = packet.frame.bytes_mut().get_mut(l3..l4) else {
        return;
    };
    let milliseconds = (now.as_nanos() / 1_000_000) as u32;
    let options = &mut header[Ipv4Header::LEN..];
    ipv4_options::record(options, vip, milliseconds | NOT_SINCE_MIDNIGHT);
    if let Some(ip) = Ipv4Header::at_mut(header, 0) {
        ip.checksum = U16::ZERO;
    }
    let checksum = !fold(sum(header));
    if let Some(ip) = Ipv4Header::at_mut(header, 0) {
        ip.checksum = U16::new(checksum);
    }
}
