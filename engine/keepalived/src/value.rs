//! Values of keys, with keepalived's idea of what they look like.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use lb::{Addr, Tunnel, TunnelChecksum};

use crate::block::Entry;
use crate::report::Report;

/// keepalived's timers end there.
const LONGEST: f64 = 4_294_967_295.0;

/// A whole number within `allowed`.
pub fn number(entry: &Entry, allowed: RangeInclusive<u32>, report: &mut Report) -> Option<u32> {
    let number = entry.value().parse().ok().filter(|n| allowed.contains(n));
    if number.is_none() {
        let (low, high) = (allowed.start(), allowed.end());
        report.error(entry, format!("allowed: {low}..={high}"));
    }
    number
}

/// Seconds, maybe with a fraction.
pub fn timer(entry: &Entry, report: &mut Report) -> Option<Duration> {
    let seconds = entry.value().parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.0..=LONGEST).contains(seconds));
    if seconds.is_none() {
        report.error(entry, "allowed: seconds, like 3 or 0.5");
    }
    seconds.map(Duration::from_secs_f64)
}

/// A switch; without a value it is on.
pub fn switch(entry: &Entry, report: &mut Report) -> Option<bool> {
    match entry.value() {
        "" | "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => {
            report.error(entry, "allowed: on, off, true, false, yes or no");
            None
        }
    }
}

/// An address of a host.
pub fn address(entry: &Entry, text: &str, report: &mut Report) -> Option<Addr> {
    let address = text.parse::<IpAddr>().ok().map(Addr::from);
    if address.is_none() {
        report.error(entry, format!("{text:?}, allowed: an IPv4 or IPv6 address"));
    }
    address
}

/// A port that may be missing.
pub fn port(entry: &Entry, text: Option<&str>, report: &mut Report) -> Option<Option<u16>> {
    let Some(text) = text else {
        return Some(None);
    };
    let port = text.parse::<u16>().ok();
    if port.is_none() {
        report.error(entry, format!("{text:?}, allowed: a port, 0..=65535"));
    }
    port.map(Some)
}

/// A command line: its words, as keepalived runs them.
pub fn script(entry: &Entry, report: &mut Report) -> Option<Vec<String>> {
    let words = crate::words::cut(entry.value());
    let words = words.ok().map(|tokens| {
        let word = |token| match token {
            crate::words::Token::Word(word) => word,
            crate::words::Token::Open => "{".to_owned(),
            crate::words::Token::Close => "}".to_owned(),
        };
        tokens.into_iter().map(word).collect::<Vec<_>>()
    });
    let words = words.filter(|words| !words.is_empty());
    if words.is_none() {
        report.error(entry, "allowed: a command with its arguments, in quotes");
    }
    if let [_, user, ..] = entry.values() {
        let reason = format!("it runs as the user that lbd runs as, not as {user}");
        report.changed(entry, reason);
    }
    words
}

/// How packets are forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Method {
    /// lbd's name of it.
    pub mode: &'static str,
    pub tunnel: Tunnel,
}

impl Default for Method {
    fn default() -> Method {
        Method {
            mode: "nat",
            tunnel: Tunnel::default(),
        }
    }
}

/// `NAT`, `DR`, or `TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]`.
pub fn method(entry: &Entry, report: &mut Report) -> Option<Method> {
    let values: Vec<String> = entry.values().iter().map(|v| v.to_lowercase()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut method = Method::default();
    let tunnel = match values[..] {
        ["nat"] => return Some(method),
        ["dr"] => {
            method.mode = "dr";
            return Some(method);
        }
        ["tun"] => Some(Tunnel::Ipip),
        ["tun", "type", "ipip", ref rest @ ..] => checksum(rest).map(|_| Tunnel::Ipip),
        ["tun", "type", "gue", "port", port, ref rest @ ..] => {
            let port = port.parse().ok().filter(|port| *port > 0);
            port.zip(checksum(rest))
                .map(|(port, checksum)| Tunnel::Gue { port, checksum })
        }
        ["tun", "type", "gre", ref rest @ ..] => checksum(rest)
            .filter(|checksum| *checksum != TunnelChecksum::Remote)
            .map(|checksum| Tunnel::Gre { checksum }),
        _ => None,
    };
    if tunnel.is_none() {
        report.error(
            entry,
            "allowed: NAT, DR, or TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]",
        );
    }
    tunnel.map(|tunnel| Method {
        mode: "tun",
        tunnel,
    })
}

fn checksum(words: &[&str]) -> Option<TunnelChecksum> {
    match words {
        [] | ["nocsum"] => Some(TunnelChecksum::Absent),
        ["csum"] => Some(TunnelChecksum::Present),
        ["remcsum"] => Some(TunnelChecksum::Remote),
        _ => None,
    }
}

/// The value as one of a type's names.
pub fn parsed<T: FromStr>(entry: &Entry, allowed: &str, report: &mut Report) -> Option<T> {
    let value = entry.value().parse().ok();
    if value.is_none() {
        report.error(entry, format!("allowed: {allowed}"));
    }
    value
}
