//! Packet headers as overlays on bytes, and their checksums.
//!
//! The bottom of the tree: no allocation, no I/O, no policy. A header is one bounds check and then plain fields
//! ([`zerocopy`]); a frame is parsed once ([`parse`]) and later stages use the offsets found there.

pub mod checksum;
mod ethernet;
mod fragment;
mod icmp;
mod icmp_error;
mod ipv4;
pub mod ipv4_options;
mod ipv6;
mod overlay;
mod parse;
mod tcp;
mod tunnel;
mod udp;

pub use ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader};
pub use fragment::{Fragment, Split, finish_header, fragment};
pub use icmp::{IcmpHeader, PROTOCOL_ICMP, PROTOCOL_ICMP_V6, v4 as icmp_v4, v6 as icmp_v6};
pub use icmp_error::{
    IcmpError, Quoted, QuotedHeader, icmp_error, icmp_error_in_gue, quoted_header,
};
pub use ipv4::Ipv4Header;
pub use ipv6::Ipv6Header;
pub use parse::{Found, IpHeader, Parsed, Refused, parse, parse_into};
pub use tcp::{TcpFlags, TcpHeader};
pub use tunnel::{GreHeader, GueHeader};
pub use udp::UdpHeader;

/// IP protocol number of an IPv4 packet within another packet.
pub const PROTOCOL_IPV4: u8 = 4;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IP protocol number of an IPv6 packet within another packet.
pub const PROTOCOL_IPV6: u8 = 41;
/// IP protocol number of GRE.
pub const PROTOCOL_GRE: u8 = 47;
