//! Who is believed: prefixes of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lb_model::Addr;

/// A prefix like `10.1.0.0/24`, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    addr: Addr,
    bits: u8,
}

impl Prefix {
    /// The key of a trie that holds both families: `struct prefix` of `include/agent.h`.
    pub(crate) fn key(&self) -> [u8; 24] {
        let mut key = [0; 24];
        // The word that tells the family, and what is the same in all mapped addresses.
        let before = 32 + 128 - u32::from(self.addr.bits());
        key[..4].copy_from_slice(&(before + u32::from(self.bits)).to_ne_bytes());
        key[4..8].copy_from_slice(&u32::from(self.addr.is_v4()).to_ne_bytes());
        key[8..].copy_from_slice(self.addr.octets());
        key
    }

    /// Reads what [`key`](Self::key) wrote.
    pub(crate) fn from_key(key: &[u8]) -> Option<Prefix> {
        let bits = u32::from_ne_bytes(*key.first_chunk()?);
        let addr = Addr::v6(*key.get(8..)?.first_chunk()?);
        let before = 32 + 128 - u32::from(addr.bits());
        let bits = u8::try_from(bits.checked_sub(before)?).ok()?;
        Some(Prefix { addr, bits })
    }
}

impl From<Addr> for Prefix {
    fn from(addr: Addr) -> Prefix {
        let bits = addr.bits();
        Prefix { addr, bits }
    }
}

/// Why a text is not a prefix.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not an address or prefix like 10.1.0.7, 10.1.0.0/24 or 2001:db8::/64")]
pub struct ParsePrefixError(String);

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Prefix, ParsePrefixError> {
        let wrong = || ParsePrefixError(text.to_owned());
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let addr = Addr::from(addr.parse::<IpAddr>().map_err(|_| wrong())?);
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| wrong())?,
            None => addr.bits(),
        };
        // Bits beyond the prefix are more likely a slip than meant.
        if bits > addr.bits() || addr.masked(bits) != addr {
            return Err(wrong());
        }
        Ok(Prefix { addr, bits })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits == self.addr.bits() {
            true => write!(f, "{}", self.addr),
            false => write!(f, "{}/{}", self.addr, self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_read_and_written_as_it_is_typed() {
        for text in [
            "10.1.0.7",
            "10.1.0.0/24",
            "0.0.0.0/0",
            "2001:db8::/64",
            "::1",
            "::/0",
        ] {
            let prefix: Prefix = text.parse().expect(text);
            assert_eq!(prefix.to_string(), text);
            assert_eq!(Prefix::from_key(&prefix.key()), Some(prefix), "{text}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in [
            "",
            "10.1.0",
            "10.1.0.0/33",
            "10.1.0.7/24",
            "::/129",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn families_do_not_meet_in_the_trie() {
        let [all_v4, all_v6] =
            ["0.0.0.0/0", "::/0"].map(|text| text.parse::<Prefix>().expect(text).key());
        assert_eq!(all_v4[..8], [128u32, 1].map(u32::to_ne_bytes).concat());
        assert_eq!(all_v6[..8], [32u32, 0].map(u32::to_ne_bytes).concat());
    }
}
