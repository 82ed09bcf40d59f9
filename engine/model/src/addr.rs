//! Addresses of both families in one type.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use zerocopy::FromZeros;

/// An IPv4 or IPv6 address in 16 bytes, network order.
///
/// IPv4 is held IPv4-mapped (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2), so that both families share one
/// flow key, one hash and one comparison. Such addresses never stand in an IPv6 header on the wire
/// (RFC 4942 section 2.2), and parsing refuses them there, so the two families cannot be confused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, FromZeros)]
#[repr(transparent)]
pub struct Addr([u8; 16]);

/// What makes an address of four zero bytes a mapped one; the number is [`Addr::bits_as_they_lie`].
const V4_MAPPED: u128 = 0xffff << 80;

impl Addr {
    /// `0.0.0.0`.
    pub const UNSPECIFIED_V4: Addr = Addr::v4([0; 4]);

    /// An IPv4 address from its four bytes.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Addr {
        Addr(((u32::from_le_bytes(octets) as u128) << 96 | V4_MAPPED).to_le_bytes())
    }

    /// One number in place of sixteen bytes: compilers handle it so much better. The first byte is the lowest.
    #[inline(always)]
    const fn bits_as_they_lie(&self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// An IPv6 address from its sixteen bytes.
    #[inline(always)]
    pub const fn v6(octets: [u8; 16]) -> Addr {
        Addr(octets)
    }

    /// The four bytes of an IPv4 address.
    #[inline(always)]
    pub fn as_v4(&self) -> Option<[u8; 4]> {
        self.is_v4().then(|| self.last_octets())
    }

    /// The sixteen bytes of an IPv6 address.
    #[inline(always)]
    pub fn as_v6(&self) -> Option<[u8; 16]> {
        (!self.is_v4()).then_some(self.0)
    }

    /// The last four of its bytes, which are all of an IPv4 address.
    #[inline(always)]
    pub fn last_octets(&self) -> [u8; 4] {
        ((self.bits_as_they_lie() >> 96) as u32).to_le_bytes()
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.bits_as_they_lie() << 32 == V4_MAPPED << 32
    }

    /// All sixteen bytes; IPv4 mapped.
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// The length of a host prefix: 32 or 128.
    pub fn bits(&self) -> u8 {
        if self.is_v4() { 32 } else { 128 }
    }

    /// The bits that are set in both; `netmask` is of the same family.
    pub fn under(&self, netmask: Addr) -> Addr {
        let bits = |addr: &Addr| u128::from_be_bytes(addr.0);
        Addr((bits(self) & bits(&netmask)).to_be_bytes())
    }

    /// The address with all but its first `prefix_len` bits cleared; `prefix_len` counts in the address's own family.
    pub fn masked(&self, prefix_len: u8) -> Addr {
        let keep = u32::from(prefix_len.min(self.bits())) + if self.is_v4() { 96 } else { 0 };
        let mask = if keep == 0 {
            0
        } else {
            u128::MAX << (128 - keep)
        };
        Addr((u128::from_be_bytes(self.0) & mask).to_be_bytes())
    }
}

impl Hash for Addr {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // One word instead of a length and a slice: addresses are hashed once per packet.
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(a: Ipv4Addr) -> Addr {
        Addr::v4(a.octets())
    }
}

impl From<Ipv6Addr> for Addr {
    fn from(a: Ipv6Addr) -> Addr {
        Addr::v6(a.octets())
    }
}

impl From<IpAddr> for Addr {
    fn from(a: IpAddr) -> Addr {
        match a {
            IpAddr::V4(a) => a.into(),
            IpAddr::V6(a) => a.into(),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(a: Addr) -> IpAddr {
        match a.as_v4() {
            Some(v4) => IpAddr::V4(v4.into()),
            None => IpAddr::V6(a.0.into()),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address with a port: VIP:vport, RIP:rport, CIP:cport.
///
/// Written `10.0.0.100:80` or `[2001:db8::1]:443`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub addr: Addr,
    /// The port, host order.
    pub port: u16,
}

impl Endpoint {
    /// An endpoint from its parts.
    pub const fn new(addr: Addr, port: u16) -> Endpoint {
        Endpoint { addr, port }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(a: SocketAddr) -> Endpoint {
        Endpoint::new(a.ip().into(), a.port())
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(e: Endpoint) -> SocketAddr {
        SocketAddr::new(e.addr.into(), e.port)
    }
}

/// The text was not `ADDRESS:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseEndpointError;

impl fmt::Display for ParseEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("allowed: ADDRESS:PORT, like 10.0.0.100:80 or [2001:db8::1]:443")
    }
}

impl std::error::Error for ParseEndpointError {}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(s: &str) -> Result<Endpoint, ParseEndpointError> {
        s.parse::<SocketAddr>()
            .map(Endpoint::from)
            .map_err(|_| ParseEndpointError)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_print_as_they_are_written() {
        for text in ["10.0.0.100:80", "[2001:db8::1]:443"] {
            assert_eq!(text.parse::<Endpoint>().expect("valid").to_string(), text);
        }
        for text in [
            "10.0.0.100",
            "10.0.0.100:70000",
            "2001:db8::1:443",
            "host:80",
            "",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(ParseEndpointError), "{text}");
        }
    }

    #[test]
    fn masks_count_in_the_family_of_the_address() {
        let v4 = Addr::v4([10, 1, 2, 3]);
        assert_eq!(v4.masked(24), Addr::v4([10, 1, 2, 0]));
        assert_eq!(v4.masked(0), Addr::UNSPECIFIED_V4);
        assert_eq!(v4.masked(32), v4);
        let v6 = Addr::from("2001:db8:1:2::3".parse::<Ipv6Addr>().expect("valid"));
        assert_eq!(v6.masked(48).to_string(), "2001:db8:1::");
        assert_eq!(v6.masked(0).to_string(), "::");
        assert_eq!(
            v4.under(Addr::v4([255, 0, 255, 0])),
            Addr::v4([10, 0, 2, 0])
        );
    }
}
