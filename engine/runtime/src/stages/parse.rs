//! Stage 2: offsets and flow keys, in one pass over each frame.
//!
//! Ends: [`DropReason::Malformed`], [`PuntReason::NotBalanced`], and [`PuntReason::Fragment`] unless `gather` can do more.

use lb_model::{
    Addr, Batch, DropReason, Endpoint, FlowKey, Headers, Packet, Protocol, PuntReason, Related,
    Verdict,
};
use lb_wire::{Found, IcmpError, IpHeader, Parsed, Refused};

/// How many of the packets are fragments. What a worker has parsed that handed a packet over is not parsed again.
pub fn run(batch: &mut Batch) -> usize {
    let mut fragments = 0;
    for packet in batch.packets_mut() {
        if !packet.is_parsed() && read(packet) == Some(Refused::Fragment) {
            fragments += 1;
        }
    }
    fragments
}

/// Of one packet; why it was refused, if it was.
#[inline(always)]
pub fn read(packet: &mut Packet) -> Option<Refused> {
    let Packet {
        frame,
        headers,
        flow,
        plain,
        ..
    } = packet;
    let places = Places {
        headers,
        flow,
        plain,
    };
    let refused = lb_wire::parse_into(frame.bytes(), places).err();
    if let Some(refused) = refused {
        refuse(packet, refused);
    }
    refused
}

/// What of a packet its parse tells.
struct Places<'p> {
    headers: &'p mut Headers,
    flow: &'p mut FlowKey,
    plain: &'p mut bool,
}

impl<'a> Found<'a> for Places<'_> {
    type Noted = ();

    #[inline(always)]
    fn note(self, parsed: Parsed<'a>) {
        *self.headers = Headers {
            l3: parsed.l3,
            l4: parsed.l4,
            end: parsed.end,
            tcp_flags: parsed.tcp_flags,
            is_v4: matches!(parsed.ip, IpHeader::V4(_)),
        };
        let (source, destination) = addresses(parsed.ip);
        (self.flow.source.addr, self.flow.destination.addr) = (source, destination);
        self.flow.source.port = parsed.source_port;
        self.flow.destination.port = parsed.destination_port;
        self.flow.protocol = protocol(parsed.protocol);
        *self.plain = parsed.is_plain;
    }
}

#[cold]
fn refuse(packet: &mut Packet, refused: Refused) {
    packet.verdict = match refused {
        Refused::Malformed => Some(Verdict::Drop(DropReason::Malformed)),
        Refused::Fragment => Some(Verdict::Punt(PuntReason::Fragment)),
        Refused::Other if read_error(packet) => None,
        Refused::Other => Some(Verdict::Punt(PuntReason::NotBalanced)),
    };
}

/// Whether the packet is an ICMP error that may be about one of a conn.
fn read_error(packet: &mut Packet) -> bool {
    let (headers, flow, related) = match lb_wire::icmp_error(packet.frame.bytes()) {
        Some(error) => about(&error),
        None => return false,
    };
    packet.headers = headers;
    packet.flow = flow;
    packet.related = Some(related);
    true
}

/// Reads an ICMP error about a UDP packet of no conn as one about what that packet carried; whether it did, as far as it
/// shows.
#[cold]
pub fn look_into_gue(packet: &mut Packet) -> bool {
    let (_, flow, related) = match lb_wire::icmp_error_in_gue(packet.frame.bytes()) {
        Some(error) => about(&error),
        None => return false,
    };
    packet.flow = flow;
    packet.related = Some(related);
    true
}

fn about(error: &IcmpError<'_>) -> (Headers, FlowKey, Related) {
    let quoted = error.quoted;
    let (source, destination) = addresses(quoted.ip);
    let flow = FlowKey {
        source: Endpoint::new(source, quoted.source_port),
        destination: Endpoint::new(destination, quoted.destination_port),
        protocol: protocol(quoted.protocol),
    };
    let headers = Headers {
        l3: error.l3,
        l4: error.l4,
        end: error.end,
        tcp_flags: 0,
        is_v4: source.is_v4(),
    };
    let related = Related {
        l3: quoted.l3,
        l4: quoted.l4,
        tunnel: error.tunnel,
    };
    // An error goes the other way than the packet that it is about; that about a tunnel's packet has the client's
    // packet inside as it came in.
    let flow = match error.tunnel {
        Some(_) => flow,
        None => flow.reversed(),
    };
    (headers, flow, related)
}

#[inline(always)]
fn addresses(ip: IpHeader<'_>) -> (Addr, Addr) {
    match ip {
        IpHeader::V4(ip) => (Addr::v4(ip.source), Addr::v4(ip.destination)),
        IpHeader::V6(ip) => (Addr::v6(ip.source), Addr::v6(ip.destination)),
    }
}

#[inline(always)]
fn protocol(number: u8) -> Protocol {
    if number == lb_wire::PROTOCOL_TCP {
        Protocol::Tcp
    } else {
        Protocol::Udp
    }
}
