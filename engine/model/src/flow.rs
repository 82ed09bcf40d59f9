//! The five words that name one direction of a flow.

use std::fmt;
use std::str::FromStr;

use crate::{Addr, Endpoint};

/// A transport protocol of virtual services.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293, protocol number 6.
    Tcp = 6,
    /// RFC 768, protocol number 17.
    Udp = 17,
    /// RFC 9260, protocol number 132: its services are kept and listed, and its packets left to the kernel.
    Sctp = 132,
}

impl Protocol {
    /// The protocol for the number in an IP header, if it is one that is balanced.
    pub const fn from_number(number: u8) -> Option<Protocol> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Protocol, &'static str> {
        match s {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            _ => Err("allowed: tcp, udp"),
        }
    }
}

/// Source, destination and protocol of a packet, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    /// Source address and port.
    pub source: Endpoint,
    /// Destination address and port.
    pub destination: Endpoint,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl FlowKey {
    /// The key of a packet that has not been parsed: `tcp 0.0.0.0:0 -> 0.0.0.0:0`.
    pub const UNKNOWN: FlowKey = FlowKey {
        source: Endpoint::new(Addr::UNSPECIFIED_V4, 0),
        destination: Endpoint::new(Addr::UNSPECIFIED_V4, 0),
        protocol: Protocol::Tcp,
    };

    /// The same flow seen from the other end.
    pub const fn reversed(self) -> FlowKey {
        FlowKey {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
        }
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} -> {}",
            self.protocol, self.source, self.destination
        )
    }
}

/// A keyed hash of a flow. Workers that hand each other packets have one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowHash(pub u64);

/// Which way a packet of a conn goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Client to server.
    Inbound,
    /// Server to client; seen in NAT and FNAT, and in ENAT where the component on the server is missing.
    Outbound,
}
