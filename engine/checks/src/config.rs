//! What is asked of servers, and what follows from their answers: plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use lb_model::{Endpoint, Tunnel};

use crate::Passive;

/// The health checks of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceHealth {
    /// How each of its servers is checked: it must pass all of them.
    pub checks: Vec<Arc<Check>>,
    /// Servers that are checked in other ways, in place of these.
    pub own_checks: BTreeMap<Endpoint, Vec<Arc<Check>>>,
    /// Whether servers are judged by their clients' packets, too.
    pub passive: Option<Passive>,
    /// What follows.
    pub policy: Policy,
}

impl ServiceHealth {
    /// One check for all servers.
    pub fn new(check: Check, policy: Policy) -> ServiceHealth {
        ServiceHealth {
            checks: vec![Arc::new(check)],
            own_checks: BTreeMap::new(),
            passive: None,
            policy,
        }
    }

    /// How a server is checked; not at all, if this is empty.
    pub fn checks_of(&self, server: Endpoint) -> &[Arc<Check>] {
        self.own_checks.get(&server).unwrap_or(&self.checks)
    }

    /// Whether a server is taken for bad until it has answered.
    pub fn is_bad_at_first(&self, server: Endpoint) -> bool {
        self.policy.initial == Initial::Down && !self.checks_of(server).is_empty()
    }
}

/// How a server is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What it is asked.
    pub probe: Probe,
    /// From the beginning of one question to that of the next.
    pub interval: Duration,
    /// For the whole answer.
    pub timeout: Duration,
    /// So many good answers in a row bring a server back.
    pub rise: u32,
    /// So many bad ones take it away.
    pub fall: u32,
    /// A server that fails within this time after it came back needs twice as many good answers as before.
    pub damping: Duration,
    /// The port that is asked; `None`: the server's own.
    pub port: Option<u16>,
    /// Our address; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
}

impl Check {
    /// This question with defaults for the rest.
    pub fn new(probe: Probe) -> Check {
        Check {
            probe,
            interval: Duration::from_secs(3),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            damping: Duration::ZERO,
            port: None,
            source: None,
        }
    }
}

/// What a server is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// To accept a connection.
    Tcp,
    /// To accept a connection to the VIP, on the way that clients' packets take.
    Vip,
    /// For a page.
    Http(Http),
    /// To answer a datagram.
    Udp(Udp),
    /// To answer an echo request.
    Icmp,
    /// For a name.
    Dns(Dns),
    /// What a program finds out: the program and its arguments.
    Script(Vec<String>),
}

impl Probe {
    /// As the configuration names it.
    pub fn name(&self) -> &'static str {
        match self {
            Probe::Tcp => "tcp",
            Probe::Vip => "vip",
            Probe::Http(Http { tls: None, .. }) => "http",
            Probe::Http(_) => "https",
            Probe::Udp(_) => "udp",
            Probe::Icmp => "icmp",
            Probe::Dns(_) => "dns",
            Probe::Script(_) => "script",
        }
    }

    /// Whether it is sent to a port.
    pub fn has_port(&self) -> bool {
        !matches!(self, Probe::Icmp | Probe::Script(_))
    }
}

/// How clients' packets get to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// To its own address, for they are rewritten; or they could, as far as a check can tell.
    #[default]
    Own,
    /// To its MAC, as they are.
    Direct,
    /// To its own address, within another IP header.
    Ipip,
}

/// A page, and what it must be like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http {
    /// With TLS, and how.
    pub tls: Option<Tls>,
    /// The path with its query.
    pub path: String,
    /// The Host header; `None`: the server's address.
    pub host: Option<String>,
    /// The statuses that are good.
    pub status: StatusSet,
    /// What the body must contain.
    pub body: Option<String>,
}

/// How TLS is spoken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// Whether the server's certificate must be valid for its name; otherwise any will do.
    pub verify: bool,
    /// The name that is asked for (SNI) and verified; `None`: the host, or the address.
    pub name: Option<String>,
}

/// HTTP statuses, like `200-299,301`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

impl StatusSet {
    /// Whether `status` is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl Default for StatusSet {
    /// All that say success.
    fn default() -> StatusSet {
        StatusSet(vec![200..=299])
    }
}

impl FromStr for StatusSet {
    type Err = ();

    fn from_str(text: &str) -> Result<StatusSet, ()> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let status = |text: &str| text.trim().parse().ok().filter(|s| (100..=599).contains(s));
            let range: RangeInclusive<u16> = status(first)?..=status(last)?;
            (!range.is_empty()).then_some(range)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(StatusSet).ok_or(())
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match range.start() == range.end() {
                true => write!(f, "{comma}{}", range.start())?,
                false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

/// A datagram, and what must be in the answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Udp {
    /// What is sent.
    pub send: Vec<u8>,
    /// What the answer must contain; `None`: no answer is good enough, unless it is an ICMP error.
    pub expect: Option<Vec<u8>>,
}

/// A question to a name server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dns {
    /// The name, without the last dot.
    pub name: String,
    /// The kind of record.
    pub record: RecordType,
}

/// The kinds of DNS records that can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordType(pub(crate) u16);

impl RecordType {
    /// The start of a zone's authority.
    pub const SOA: RecordType = RecordType(6);

    /// All of them by name.
    pub const NAMES: [(&'static str, RecordType); 8] = [
        ("A", RecordType(1)),
        ("NS", RecordType(2)),
        ("CNAME", RecordType(5)),
        ("SOA", RecordType::SOA),
        ("MX", RecordType(15)),
        ("TXT", RecordType(16)),
        ("AAAA", RecordType(28)),
        ("SRV", RecordType(33)),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let known = RecordType::NAMES.iter().find(|(_, record)| *record == self);
        known.map_or("?", |(name, _)| name)
    }
}

/// What follows from a service's checks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What becomes of a server that fails.
    pub on_failure: OnFailure,
    /// What a server is taken for before it has been asked.
    pub initial: Initial,
    /// The sum of the weights of good servers that the service needs.
    pub quorum: u32,
    /// The quorum is lost so much below, and regained so much above.
    pub hysteresis: u32,
    /// Who serves while the quorum is lost.
    pub sorry_server: Option<SorryServer>,
    /// How long a server that comes back takes to get its whole weight; zero: it has it at once.
    pub slow_start: Duration,
    /// A program, and its arguments, that is told of changes.
    pub notify: Vec<String>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            on_failure: OnFailure::Quiesce,
            initial: Initial::Up,
            quorum: 1,
            hysteresis: 0,
            sorry_server: None,
            slow_start: Duration::ZERO,
            notify: Vec::new(),
        }
    }
}

/// What becomes of a server that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFailure {
    /// Weight 0 (keepalived's `inhibit_on_failure`): its conns live on.
    Quiesce,
    /// It leaves the service (keepalived's default).
    Remove,
}

/// What a server is taken for before it has been asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Initial {
    /// Good until it fails.
    Up,
    /// Bad until it answers (keepalived's `alpha`).
    Down,
}

/// Who serves while the quorum is lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SorryServer {
    /// RIP:rport.
    pub rip: Endpoint,
    /// Its mode's name.
    pub mode: String,
    /// What its packets are wrapped in, if its mode tunnels.
    pub tunnel: Tunnel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        for (text, good, bad) in [
            ("200-299", 204, 301),
            ("200", 200, 201),
            ("200,301-302,404", 302, 403),
        ] {
            let set: StatusSet = text.parse().expect("valid");
            assert_eq!(set.to_string(), text);
            assert!(set.contains(good) && !set.contains(bad), "{text}");
        }
        for text in ["", "2xx", "299-200", "99", "600", "200,", "200-", "-"] {
            assert_eq!(text.parse::<StatusSet>(), Err(()), "{text}");
        }
    }
}
