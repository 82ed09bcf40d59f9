//! A conn as its table keeps it, in 40 bytes, and as everybody else sees it.

use std::cell::Cell;
use std::sync::Arc;

use zerocopy::FromZeros;

use crate::{Addr, Dest, Direction, Endpoint, FlowKey, Introduction, Protocol, Replies};

/// What is decided when a conn is born, and holds until it ends.
#[derive(Clone, Copy, Debug)]
pub struct NewConn<'d> {
    /// Its inbound packets as received: CIP:cport to VIP:vport.
    pub flow: FlowKey,
    /// The server chosen by the scheduler.
    pub dest: &'d Arc<Dest>,
    /// Where on the server its packets go: the server's own port, or the one the client asked for if the server has
    /// port 0.
    pub rip: Endpoint,
    /// LIP:lport in FNAT, VIP:lport in ENAT: the source that the server sees in place of the client, leased from the
    /// worker's ports until the conn ends.
    pub local: Option<Endpoint>,
    /// Which way its replies take.
    pub replies: Replies,
    /// How its server is told of its client.
    pub introduction: Introduction,
    /// The mode it was opened with, by its number in the engine's registry.
    pub mode: u8,
}

impl NewConn<'_> {
    /// Whether all of its ends are IPv4: those of its packets are of one family, and what was leased is of that, too.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.flow.source.addr.is_v4() && self.rip.addr.is_v4()
    }

    /// What the server sees as the source of its packets.
    #[inline]
    pub fn source(&self) -> Endpoint {
        self.local.unwrap_or(self.flow.source)
    }

    /// Its outbound packets as received, if any are ours to receive.
    #[inline]
    pub fn reply(&self) -> Option<FlowKey> {
        (self.replies != Replies::Direct).then(|| FlowKey {
            source: self.rip,
            destination: self.source(),
            protocol: self.flow.protocol,
        })
    }
}

/// An end of a conn, by its place in a record: source and destination of what comes in from the client, then of what comes in
/// from the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// CIP:cport.
    Client,
    /// VIP:vport.
    Vip,
    /// Where on the server its packets go: RIP:rport.
    Rip,
    /// What the server sees as the source of its packets: CIP:cport, unless another was leased.
    Source,
}

/// The ends of an IPv6 conn, or one of two families: a second cache line.
pub type WideEnds = [Addr; 4];

/// The compact form of a conn: most of a cache line, with what else its table notes of it in the rest.
#[derive(Clone, Debug, FromZeros)]
#[repr(C)]
pub struct ConnRecord {
    v4: [[u8; 4]; 4],
    ports: [u16; 4],
    introduction: Cell<Introduction>,
    dest: u32,
    replies: Replies,
    mode: u8,
    protocol: u8,
    marks: u8,
}

/// Not all of its ends are IPv4: they are in its [`WideEnds`].
const WIDE: u8 = 1;
/// Its source is leased.
const LOCAL: u8 = 2;

impl ConnRecord {
    /// The compact form of `conn`, whose server its table knows by the number `dest`. Its ends are written to `wide` if
    /// that is given, which it is if they do not [fit](NewConn::is_v4).
    #[inline]
    pub fn new(conn: &NewConn<'_>, dest: u32, wide: Option<&mut WideEnds>) -> ConnRecord {
        let source = match &conn.local {
            Some(local) => local,
            None => &conn.flow.source,
        };
        let ends = [&conn.flow.source, &conn.flow.destination, &conn.rip, source];
        let local = if conn.local.is_some() { LOCAL } else { 0 };
        let marks = match wide {
            Some(wide) => {
                *wide = ends.map(|end| end.addr);
                local | WIDE
            }
            None => local,
        };
        debug_assert_eq!(marks & WIDE == 0, ends.iter().all(|end| end.addr.is_v4()));
        ConnRecord {
            v4: ends.map(|end| end.addr.last_octets()),
            ports: ends.map(|end| end.port),
            introduction: Cell::new(conn.introduction),
            dest,
            replies: conn.replies,
            mode: conn.mode,
            protocol: conn.flow.protocol as u8,
            marks,
        }
    }

    /// The number by which its table knows its server.
    #[inline(always)]
    pub fn dest(&self) -> u32 {
        self.dest
    }

    /// Which way its replies take.
    #[inline(always)]
    pub fn replies(&self) -> Replies {
        self.replies
    }

    /// Whether `flow` is that of its packets in this direction; looks at `wide` only if it must.
    #[inline(always)]
    pub fn is<'a>(
        &self,
        direction: Direction,
        flow: &FlowKey,
        wide: impl FnOnce() -> &'a WideEnds,
    ) -> bool {
        let from = 2 * usize::from(direction == Direction::Outbound);
        let to = from + 1;
        let ports = self.ports[from] == flow.source.port && self.ports[to] == flow.destination.port;
        if !ports || self.protocol != flow.protocol as u8 {
            return false;
        }
        if self.marks & WIDE == 0 {
            Addr::v4(self.v4[from]) == flow.source.addr
                && Addr::v4(self.v4[to]) == flow.destination.addr
        } else {
            let wide = wide();
            wide[from] == flow.source.addr && wide[to] == flow.destination.addr
        }
    }
}

/// A conn as modes, observers and listings see it.
#[derive(Clone, Copy, Debug)]
pub struct Conn<'a> {
    record: &'a ConnRecord,
    wide: &'a WideEnds,
    dest: &'a Arc<Dest>,
}

impl<'a> Conn<'a> {
    /// The conn of a record; `wide` and `dest` are those that belong to it.
    #[inline(always)]
    pub fn new(record: &'a ConnRecord, wide: &'a WideEnds, dest: &'a Arc<Dest>) -> Conn<'a> {
        Conn { record, wide, dest }
    }

    /// CIP:cport.
    #[inline(always)]
    pub fn client(&self) -> Endpoint {
        self.end(End::Client)
    }

    /// VIP:vport.
    #[inline(always)]
    pub fn vip(&self) -> Endpoint {
        self.end(End::Vip)
    }

    /// What the server sees as the source of its packets: CIP:cport, unless another was leased.
    #[inline(always)]
    pub fn source(&self) -> Endpoint {
        self.end(End::Source)
    }

    /// Where on the server its packets go: RIP:rport.
    #[inline(always)]
    pub fn rip(&self) -> Endpoint {
        self.end(End::Rip)
    }

    /// The source that was leased for it, if one was.
    pub fn local(&self) -> Option<Endpoint> {
        (self.record.marks & LOCAL != 0).then(|| self.source())
    }

    /// TCP or UDP.
    #[inline(always)]
    pub fn protocol(&self) -> Protocol {
        const TCP: u8 = Protocol::Tcp as u8;
        const SCTP: u8 = Protocol::Sctp as u8;
        match self.record.protocol {
            TCP => Protocol::Tcp,
            SCTP => Protocol::Sctp,
            _ => Protocol::Udp,
        }
    }

    /// Its inbound packets as received: CIP:cport to VIP:vport.
    pub fn flow(&self) -> FlowKey {
        FlowKey {
            source: self.client(),
            destination: self.vip(),
            protocol: self.protocol(),
        }
    }

    /// Its outbound packets as received, if any are ours to receive.
    pub fn reply(&self) -> Option<FlowKey> {
        (self.replies() != Replies::Direct).then(|| FlowKey {
            source: self.rip(),
            destination: self.source(),
            protocol: self.protocol(),
        })
    }

    /// The server chosen by the scheduler.
    #[inline(always)]
    pub fn dest(&self) -> &'a Arc<Dest> {
        self.dest
    }

    /// Which way its replies take.
    #[inline(always)]
    pub fn replies(&self) -> Replies {
        self.record.replies
    }

    /// How far its server has been told of its client.
    #[inline(always)]
    pub fn introduction(&self) -> Introduction {
        self.record.introduction.get()
    }

    /// Its server has been told so far of its client: modes note this as they rewrite packets.
    #[inline(always)]
    pub fn introduced(&self, introduction: Introduction) {
        self.record.introduction.set(introduction);
    }

    /// The mode it was opened with, by its number in the engine's registry.
    #[inline(always)]
    pub fn mode(&self) -> u8 {
        self.record.mode
    }

    /// One of its ends.
    #[inline(always)]
    pub fn end(&self, end: End) -> Endpoint {
        let addr = match self.narrow(end) {
            Some(octets) => Addr::v4(octets),
            None => self.wide[end as usize],
        };
        Endpoint::new(addr, self.port(end))
    }

    /// The port of one of its ends.
    #[inline(always)]
    pub fn port(&self, end: End) -> u16 {
        self.record.ports[end as usize]
    }

    /// The address of one of its ends, if that is an IPv4 one: who asks for one family alone has it without taking it for
    /// both and apart again.
    #[inline(always)]
    pub fn v4(&self, end: End) -> Option<[u8; 4]> {
        let narrow = self.narrow(end);
        narrow.or_else(|| self.wide[end as usize].as_v4())
    }

    /// The address of one of its ends, if that is an IPv6 one.
    #[inline(always)]
    pub fn v6(&self, end: End) -> Option<[u8; 16]> {
        match self.narrow(end) {
            Some(_) => None,
            None => self.wide[end as usize].as_v6(),
        }
    }

    /// The address of one of its ends, if all are IPv4 ones.
    #[inline(always)]
    fn narrow(&self, end: End) -> Option<[u8; 4]> {
        (self.record.marks & WIDE == 0).then(|| self.record.v4[end as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new<'d>(client: &str, vip: &str, local: Option<&str>, dest: &'d Arc<Dest>) -> NewConn<'d> {
        let rip = dest.rip();
        NewConn {
            flow: FlowKey {
                source: client.parse().expect("valid"),
                destination: vip.parse().expect("valid"),
                protocol: Protocol::Udp,
            },
            dest,
            rip,
            local: local.map(|local| local.parse().expect("valid")),
            replies: Replies::ToLocalAddress,
            introduction: Introduction::IP_OPTION,
            mode: 3,
        }
    }

    #[test]
    fn a_conn_is_what_its_record_was_made_of() {
        let cases = [
            ("192.0.2.1:4000", "10.0.0.100:80", None, "10.1.0.11:8080"),
            (
                "192.0.2.1:4000",
                "10.0.0.100:80",
                Some("10.1.0.2:1024"),
                "10.1.0.11:8080",
            ),
            (
                "[2001:db8::1]:4000",
                "[2001:db8::100]:80",
                Some("[2001:db8:1::2]:1024"),
                "[2001:db8:1::11]:8080",
            ),
            // A tunnel through the other family.
            (
                "192.0.2.1:4000",
                "10.0.0.100:80",
                None,
                "[2001:db8:1::11]:80",
            ),
        ];
        for (client, vip, local, rip) in cases {
            let dest = Arc::new(Dest::new(rip.parse().expect("valid"), 1));
            let new = new(client, vip, local, &dest);
            let mut wide = [Addr::UNSPECIFIED_V4; 4];
            let record = ConnRecord::new(&new, 7, (!new.is_v4()).then_some(&mut wide));
            let conn = Conn::new(&record, &wide, &dest);
            assert_eq!((conn.flow(), conn.rip()), (new.flow, new.rip));
            assert_eq!((conn.local(), conn.source()), (new.local, new.source()));
            assert_eq!((conn.reply(), conn.replies()), (new.reply(), new.replies));
            assert_eq!((conn.mode(), record.dest()), (3, 7));
            let reply = new.reply().expect("two-way");
            for (direction, flow) in [(Direction::Inbound, new.flow), (Direction::Outbound, reply)]
            {
                assert!(record.is(direction, &flow, || &wide));
                assert!(!record.is(direction, &flow.reversed(), || &wide));
                let mut other = flow;
                other.source.port += 1;
                assert!(!record.is(direction, &other, || &wide));
                other = flow;
                other.protocol = Protocol::Tcp;
                assert!(!record.is(direction, &other, || &wide));
            }
        }
    }

    #[test]
    fn a_record_leaves_its_table_a_third_of_a_cache_line() {
        assert_eq!(size_of::<ConnRecord>(), 40);
    }
}
