//! `[service.check]` and `[service.server.check]`: what servers are asked.

use std::net::IpAddr;
use std::time::Duration;

use lb::Endpoint;
use lb_checks::probe::dns::is_name;
use lb_checks::{Check, Dns, Http, Probe, RecordType, StatusSet, Tls, Udp};
use toml::de::DeValue;

use super::fault::Faults;
use super::lines::{Lines, list, quoted, shown};
use super::schema::number;
use super::section::{Kind, Section};
use super::service::SWITCH;

/// The kinds of checks, as `type` names them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Tcp,
    Vip,
    Http,
    Https,
    Udp,
    Icmp,
    Dns,
    Script,
}

const TYPE: Kind<Type> = Kind {
    allowed: "\"tcp\", \"http\", \"https\", \"udp\", \"icmp\", \"dns\", \"vip\" or \"script\"",
    parse: |value| match value.as_str()? {
        "tcp" => Some(Type::Tcp),
        "vip" => Some(Type::Vip),
        "http" => Some(Type::Http),
        "https" => Some(Type::Https),
        "udp" => Some(Type::Udp),
        "icmp" => Some(Type::Icmp),
        "dns" => Some(Type::Dns),
        "script" => Some(Type::Script),
        _ => None,
    },
};

pub const SPAN: Kind<Duration> = Kind {
    allowed: "a time like \"500ms\", \"3s\" or \"1m\", from 10 ms to 1 day",
    parse: |value| span(value).filter(|span| *span >= Duration::from_millis(10)),
};

pub const SPAN_OR_NONE: Kind<Duration> = Kind {
    allowed: "a time like \"30s\" or \"5m\", up to 1 day, or \"0s\" for none",
    parse: span,
};

fn span(value: &DeValue<'_>) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let span = humantime::parse_duration(value.as_str()?).ok()?;
    (span <= LONGEST && span.subsec_nanos() % 1_000_000 == 0).then_some(span)
}

const COUNT: Kind<u32> = Kind {
    allowed: "1..=100",
    parse: |value| number(value).filter(|count| (1..=100).contains(count)),
};

const PORT: Kind<u16> = Kind {
    allowed: "1..=65535",
    parse: |value| number(value)?.try_into().ok().filter(|port| *port > 0),
};

const SOURCE: Kind<IpAddr> = Kind {
    allowed: "an address of this machine, like \"10.1.0.2\" or \"2001:db8::2\"",
    parse: |value| value.as_str()?.parse().ok(),
};

const PATH: Kind<String> = Kind {
    allowed: "a path that begins with a slash, without spaces, like \"/health?full=1\"",
    parse: |value| {
        let path = value.as_str()?;
        let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| path.to_owned())
    },
};

const HOST: Kind<String> = Kind {
    allowed: "a host's name, like \"www.example.org\"",
    parse: |value| {
        let host = value.as_str()?;
        let plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| host.to_owned())
    },
};

const STATUS: Kind<StatusSet> = Kind {
    allowed: "statuses and ranges of them, 100 to 599, like \"200-299\" or \"200,301-302\"",
    parse: |value| match value.as_str() {
        Some(text) => text.parse().ok(),
        None => number(value)?.to_string().parse().ok(),
    },
};

const TEXT: Kind<String> = Kind {
    allowed: "a text",
    parse: |value| {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned)
    },
};

const HEX: Kind<Vec<u8>> = Kind {
    allowed: "bytes in hexadecimal, like \"00ff 17\"",
    parse: |value| unhex(value.as_str()?),
};

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .map(|letter| letter.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0 && !digits.is_empty())?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

const NAME: Kind<String> = Kind {
    allowed: "a domain name without the last dot, like \"www.example.org\"; \"\" is the root",
    parse: |value| {
        value
            .as_str()
            .filter(|name| is_name(name))
            .map(str::to_owned)
    },
};

const RECORD: Kind<RecordType> = Kind {
    allowed: "\"A\", \"NS\", \"CNAME\", \"SOA\", \"MX\", \"TXT\", \"AAAA\" or \"SRV\"",
    parse: |value| {
        let name = value.as_str()?;
        let known = RecordType::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, record)| *record)
    },
};

const WORD: Kind<String> = Kind {
    allowed: "a word of a command line; the first one is the program's absolute path",
    parse: |value| {
        let word = value.as_str().filter(|word| !word.contains('\0'))?;
        Some(word.to_owned())
    },
};

/// What servers are asked, one of which is `nameless`, without a port of its own, if any is. Keys of [`policy`] are still
/// to be read from the section.
pub fn read(
    section: &mut Section<'_>,
    nameless: Option<Endpoint>,
    faults: &mut Faults<'_>,
) -> Option<Check> {
    let kind = section.required("type", &TYPE, faults);
    let probe = kind.and_then(|kind| probe(kind, section, faults));
    let defaults = Check::new(Probe::Tcp);
    let span = |section: &mut Section<'_>, key, default, faults: &mut Faults<'_>| {
        section.value(key, &SPAN, faults).unwrap_or(default)
    };
    let interval = span(section, "interval", defaults.interval, faults);
    let timeout = span(section, "timeout", defaults.timeout, faults);
    let rise = section.value("rise", &COUNT, faults);
    let fall = section.value("fall", &COUNT, faults);
    let damping = section.value("damping", &SPAN_OR_NONE, faults);
    let port = section.value("port", &PORT, faults);
    let source = section.value("source", &SOURCE, faults);
    if let (None, Some(server), Some(probe)) = (port, nameless, &probe)
        && probe.has_port()
    {
        let why = format!("a port from 1, for server {} has none", server.addr);
        section.miss("port", &why, faults);
    }
    Some(Check {
        probe: probe?,
        interval,
        timeout,
        rise: rise.unwrap_or(defaults.rise),
        fall: fall.unwrap_or(defaults.fall),
        damping: damping.unwrap_or(defaults.damping),
        port,
        source,
    })
}

fn probe(kind: Type, section: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Probe> {
    Some(match kind {
        Type::Tcp => Probe::Tcp,
        Type::Vip => Probe::Vip,
        Type::Icmp => Probe::Icmp,
        Type::Http | Type::Https => Probe::Http(http(kind == Type::Https, section, faults)),
        Type::Udp => Probe::Udp(udp(section, faults)),
        Type::Dns => Probe::Dns(Dns {
            name: section.value("name", &NAME, faults).unwrap_or_default(),
            record: section
                .value("record", &RECORD, faults)
                // As keepalived's DNS_CHECK.
                .unwrap_or(RecordType::SOA),
        }),
        Type::Script => Probe::Script(command("command", section, faults)?),
    })
}

fn http(tls: bool, section: &mut Section<'_>, faults: &mut Faults<'_>) -> Http {
    Http {
        tls: tls.then(|| Tls {
            verify: section.value("verify", &SWITCH, faults).unwrap_or(false),
            name: section.value("tls_name", &HOST, faults),
        }),
        path: section
            .value("path", &PATH, faults)
            .unwrap_or_else(|| "/".to_owned()),
        host: section.value("host", &HOST, faults),
        status: section.value("status", &STATUS, faults).unwrap_or_default(),
        body: section.value("body", &TEXT, faults),
    }
}

/// `send` and `expect` as texts, or `send_hex` and `expect_hex`.
fn udp(section: &mut Section<'_>, faults: &mut Faults<'_>) -> Udp {
    let mut bytes = |text: &'static str, hex: &'static str| {
        let both = section.has(text) && section.has(hex);
        let written = section.value(text, &TEXT, faults).map(String::into_bytes);
        let in_hex = section.value(hex, &HEX, faults);
        if both {
            section.reproach(hex, &format!("nothing beside `{text}`"), faults);
        }
        written.or(in_hex)
    };
    let send = bytes("send", "send_hex");
    let expect = bytes("expect", "expect_hex");
    Udp {
        send: send.unwrap_or_default(),
        expect,
    }
}

pub fn command(
    key: &'static str,
    section: &mut Section<'_>,
    faults: &mut Faults<'_>,
) -> Option<Vec<String>> {
    let words = section.required_list(key, &WORD, faults);
    let program = words.first();
    if program.is_none_or(|program| !program.starts_with('/')) {
        section.reproach(
            key,
            "a list that begins with a program's absolute path",
            faults,
        );
        return None;
    }
    Some(words)
}

/// The lines that [`read`] reads as `check`, keys and values; what has its default is left out.
pub fn written(check: &Check) -> Lines {
    let Check {
        probe,
        interval,
        timeout,
        rise,
        fall,
        damping,
        port,
        source,
    } = check;
    let mut lines = Lines::default();
    lines.always("type", quoted(probe.name()));
    lines.probe(probe);
    let usual = Check::new(Probe::Tcp);
    lines.always("interval", shown(*interval));
    lines.unless(*timeout == usual.timeout, "timeout", || shown(*timeout));
    lines.unless(*rise == usual.rise, "rise", || rise.to_string());
    lines.unless(*fall == usual.fall, "fall", || fall.to_string());
    lines.unless(*damping == usual.damping, "damping", || shown(*damping));
    lines.some("port", port.as_ref().map(ToString::to_string));
    lines.some("source", source.as_ref().map(quoted));
    lines
}

impl Lines {
    fn probe(&mut self, probe: &Probe) {
        match probe {
            Probe::Tcp | Probe::Vip | Probe::Icmp => {}
            Probe::Http(Http {
                tls,
                path,
                host,
                status,
                body,
            }) => {
                self.unless(path == "/", "path", || quoted(path));
                self.some("host", host.as_ref().map(quoted));
                self.unless(*status == StatusSet::default(), "status", || quoted(status));
                self.some("body", body.as_ref().map(quoted));
                let Tls { verify, name } = tls.clone().unwrap_or_default();
                self.unless(!verify, "verify", || "true".to_owned());
                self.some("tls_name", name.as_ref().map(quoted));
            }
            Probe::Udp(Udp { send, expect }) => {
                self.unless(send.is_empty(), "send_hex", || hex(send));
                self.some("expect_hex", expect.as_deref().map(hex));
            }
            Probe::Dns(Dns { name, record }) => {
                self.unless(name.is_empty(), "name", || quoted(name));
                let usual = *record == RecordType::SOA;
                self.unless(usual, "record", || quoted(record.name()));
            }
            Probe::Script(words) => self.always("command", list(words)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    quoted(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(unhex("00ff 17"), Some(vec![0, 0xff, 0x17]));
        for bad in ["", "0", "0g", "00f", " "] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
        assert_eq!(hex(&[0, 0xff, 0x17]), "\"00ff17\"");
    }
}
