//! Addresses and numbers, read with the C library's habits: ipvsadm leaves both to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::{Names, Transport};

/// `HOST[:PORT]`, `[IPV6]:PORT` or `IPV6`; the port if there is one.
///
/// A bare number is refused, and so is an IPv6 address in brackets without a port; an IPv4 address in brackets
/// loses its port.
pub(crate) fn host_and_port(
    text: &str,
    transport: Option<Transport>,
    names: &dyn Names,
) -> Option<(IpAddr, Option<u16>)> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (host, mut port) = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .map(|(host, port)| (host, Some(port)))?,
        None => (text, None),
    };
    // What follows the first bracket must be the port.
    if port.is_some() && host.contains(']') {
        return None;
    }
    let address = match host.parse::<Ipv6Addr>() {
        Ok(v6) => IpAddr::V6(v6),
        Err(_) => {
            let (host, after_colon) = match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            };
            port = after_colon;
            IpAddr::V4(aton(host).or_else(|| names.host(host))?)
        }
    };
    let port = match port {
        None => None,
        Some(text) => Some(match number(text, 0..=65535) {
            Some(port) => port as u16,
            None => names.port(text, transport?)?,
        }),
    };
    Some((address, port))
}

/// A mask or address as C's `inet_aton` reads it: one to four parts, each decimal, octal or hexadecimal, the last one
/// filling what is left. White space ends it.
pub(crate) fn aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split([' ', '\t', '\n', '\r', '\x0b', '\x0c']).next()?;
    let parts = text
        .split('.')
        .map(c_number)
        .collect::<Option<Vec<u32>>>()?;
    let (last, firsts) = parts.split_last()?;
    if firsts.len() > 3 || firsts.iter().any(|part| *part > 0xff) {
        return None;
    }
    let room = 32 - 8 * firsts.len() as u32;
    if room < 32 && last >> room != 0 {
        return None;
    }
    let high = firsts.iter().fold(0_u32, |sum, part| sum << 8 | part);
    let high = high.checked_shl(room).unwrap_or(0);
    Some(Ipv4Addr::from(high | last))
}

/// A decimal number as C's `strtol` reads it, all of the text, within `allowed`.
pub(crate) fn number(text: &str, allowed: RangeInclusive<i64>) -> Option<i64> {
    let digits = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let number: i64 = digits.parse().ok()?;
    allowed.contains(&number).then_some(number)
}

/// The number that a text starts with, as C's `atoi` reads it.
pub(crate) fn leading_number(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let sign = text.len() - unsigned.len();
    text[..sign + digits].parse().unwrap_or(0)
}

/// `RIP:rport` in the form of listings; the C library writes `::192.0.2.1` where the standard library does not.
pub(crate) fn shown(address: &SocketAddr, port: &str) -> String {
    match address.ip() {
        IpAddr::V4(v4) => format!("{v4}:{port}"),
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                format!(
                    "[::{}]:{port}",
                    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
                )
            }
            _ => format!("[{v6}]:{port}"),
        },
    }
}

fn c_number(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoNames;

    fn read(text: &str) -> Option<(String, Option<u16>)> {
        host_and_port(text, Some(Transport::Tcp), &NoNames).map(|(a, p)| (a.to_string(), p))
    }

    #[test]
    fn addresses_read_as_the_c_library_reads_them() {
        let v4 = |text: &str, port| Some((text.to_owned(), port));
        assert_eq!(read("192.0.2.1:80"), v4("192.0.2.1", Some(80)));
        assert_eq!(read("192.0.2.010"), v4("192.0.2.8", None));
        assert_eq!(read("192.0.2:80"), v4("192.0.0.2", Some(80)));
        assert_eq!(read("0x7f.1"), v4("127.0.0.1", None));
        assert_eq!(read("0xffffffff:1"), v4("255.255.255.255", Some(1)));
        assert_eq!(read("[192.0.2.1]:80"), v4("192.0.2.1", None));
        assert_eq!(read("2001:db8::4:80"), v4("2001:db8::4:80", None));
        assert_eq!(read("[2001:db8::4]:80"), v4("2001:db8::4", Some(80)));
        for wrong in [
            "",
            "12345",
            "192.0.2.1:",
            "192.0.2.1:70000",
            "192.0.2.256:80",
            "1.2.3.4.5",
            "1.2.3.",
            "0x:80",
            "-1.2:80",
            "[::1",
            "[::1]",
            "[::1]80",
            "[::1]:",
            "[::1]]:80",
            ":80",
            "192.0.2.1/24:80",
            "4294967296:80",
            "1.16777216:80",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_read_as_the_c_library_reads_them() {
        assert_eq!(number(" +7", 0..=9), Some(7));
        for wrong in ["", "7 ", "0x7", "1.5", "10", "-1", "99999999999999999999"] {
            assert_eq!(number(wrong, 0..=9), None, "{wrong}");
        }
        assert_eq!(leading_number("64abc"), 64);
        assert_eq!(leading_number("ffff::"), 0);
        assert_eq!(leading_number("-3"), -3);
    }

    #[test]
    fn addresses_print_as_the_c_library_prints_them() {
        let shown_as = |text: &str| shown(&SocketAddr::new(text.parse().expect("valid"), 1), "1");
        assert_eq!(shown_as("::c000:201"), "[::192.0.2.1]:1");
        assert_eq!(shown_as("::ffff:c000:201"), "[::ffff:192.0.2.1]:1");
        assert_eq!(shown_as("::1"), "[::1]:1");
        assert_eq!(shown_as("::"), "[::]:1");
    }
}
