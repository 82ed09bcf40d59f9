//! How a real server is checked, and the keys that services, servers and checkers share.

use std::time::Duration;

use lb::Addr;

use crate::block::Entry;
use crate::lines::Place;
use crate::report::Report;
use crate::value;

/// What may be said for a service, a server or a checker; what is nearest to the checker counts.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Timing {
    pub delay_loop: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub retry: Option<u32>,
    pub delay_before_retry: Option<Duration>,
    pub warmup: Option<Duration>,
    pub alpha: Option<bool>,
}

impl Timing {
    /// Takes a key's value, if it is one of these.
    pub fn take(&mut self, entry: &Entry, report: &mut Report) -> bool {
        match entry.key() {
            "delay_loop" => self.delay_loop = value::timer(entry, report),
            "connect_timeout" => self.connect_timeout = value::timer(entry, report),
            "retry" | "nb_get_retry" => self.retry = value::number(entry, 0..=u32::MAX, report),
            "delay_before_retry" => self.delay_before_retry = value::timer(entry, report),
            "warmup" => self.warmup = value::timer(entry, report),
            "alpha" => self.alpha = value::switch(entry, report),
            _ => return false,
        }
        true
    }

    /// With what is said further out where nothing is said here.
    pub fn within(self, outer: Timing) -> Timing {
        Timing {
            delay_loop: self.delay_loop.or(outer.delay_loop),
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
            retry: self.retry.or(outer.retry),
            delay_before_retry: self.delay_before_retry.or(outer.delay_before_retry),
            warmup: self.warmup.or(outer.warmup),
            alpha: self.alpha.or(outer.alpha),
        }
    }
}

/// A checker of one server.
#[derive(Clone, PartialEq, Debug)]
pub struct Checker {
    pub place: Place,
    pub kind: Kind,
    pub timing: Timing,
    /// Where it connects to, if not to the server.
    pub connect_ip: Option<Addr>,
    pub connect_port: Option<u16>,
    /// Where it connects from.
    pub bind_to: Option<Addr>,
}

/// What it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Tcp,
    Http {
        tls: bool,
        virtual_host: Option<String>,
        urls: Vec<Url>,
    },
    Smtp {
        helo_name: Option<String>,
    },
    Dns {
        record: String,
        name: String,
    },
    Misc {
        command: Vec<String>,
        timeout: Option<u32>,
    },
    Ping,
    Udp {
        payload: Option<Vec<u8>>,
        /// `None`: none is needed.
        reply: Option<Vec<u8>>,
    },
    Bfd,
    File,
}

impl Kind {
    /// keepalived's word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Tcp => "TCP_CHECK",
            Kind::Http { tls: false, .. } => "HTTP_GET",
            Kind::Http { tls: true, .. } => "SSL_GET",
            Kind::Smtp { .. } => "SMTP_CHECK",
            Kind::Dns { .. } => "DNS_CHECK",
            Kind::Misc { .. } => "MISC_CHECK",
            Kind::Ping => "PING_CHECK",
            Kind::Udp { .. } => "UDP_CHECK",
            Kind::Bfd => "BFD_CHECK",
            Kind::File => "FILE_CHECK",
        }
    }

    fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "TCP_CHECK" => Kind::Tcp,
            "HTTP_GET" | "SSL_GET" => Kind::Http {
                tls: name == "SSL_GET",
                virtual_host: None,
                urls: Vec::new(),
            },
            "SMTP_CHECK" => Kind::Smtp { helo_name: None },
            "DNS_CHECK" => Kind::Dns {
                record: "SOA".to_owned(),
                name: ".".to_owned(),
            },
            "MISC_CHECK" => Kind::Misc {
                command: Vec::new(),
                timeout: None,
            },
            "PING_CHECK" => Kind::Ping,
            "UDP_CHECK" => Kind::Udp {
                payload: None,
                reply: None,
            },
            "BFD_CHECK" => Kind::Bfd,
            "FILE_CHECK" => Kind::File,
            _ => return None,
        })
    }
}

/// A page that an HTTP checker asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    pub place: Place,
    pub path: String,
    /// As written: numbers and ranges.
    pub status: Vec<String>,
    pub virtual_host: Option<String>,
    pub regex: Option<String>,
}

/// The checker in `entry`, if it is one.
pub fn read(entry: &Entry, report: &mut Report) -> Option<Checker> {
    let mut checker = Checker {
        place: entry.place.clone(),
        kind: Kind::named(entry.key())?,
        timing: Timing::default(),
        connect_ip: None,
        connect_port: None,
        bind_to: None,
    };
    for entry in entry.entries() {
        if !checker.timing.take(entry, report) && !checker.kind.take(entry, report) {
            checker.connection(entry, report);
        }
    }
    Some(checker)
}

impl Checker {
    fn connection(&mut self, entry: &Entry, report: &mut Report) {
        match entry.key() {
            "connect_ip" => self.connect_ip = value::address(entry, entry.value(), report),
            "connect_port" => {
                self.connect_port = value::port(entry, Some(entry.value()), report).flatten();
            }
            "bindto" | "bind_to" => self.bind_to = value::address(entry, entry.value(), report),
            "bind_if" | "bind_port" | "fwmark" => {
                report.unused(
                    entry,
                    "checks use whatever port and route the kernel gives them",
                );
            }
            // Older spellings, each within a block of its own.
            "host" => {
                for entry in entry.entries() {
                    self.connection(entry, report);
                }
            }
            "log_all_failures" => {
                report.unused(entry, "lbd logs changes, with the last failure's reason")
            }
            _ => report.unused(entry, format!("unknown in {}", self.kind.name())),
        }
    }
}

impl Kind {
    /// Takes a key's value, if it is one of this kind's.
    fn take(&mut self, entry: &Entry, report: &mut Report) -> bool {
        match (self, entry.key()) {
            (Kind::Http { urls, .. }, "url") => urls.push(url(entry, report)),
            (Kind::Http { virtual_host, .. }, "virtualhost") => {
                *virtual_host = Some(entry.value().to_owned());
            }
            (Kind::Http { .. }, "http_protocol") => {
                report.unused(entry, "lbd asks in HTTP/1.1 with Connection: close");
            }
            (Kind::Http { .. }, "fast_recovery") => {
                report.unused(
                    entry,
                    "each check of lbd asks for everything it wants to know",
                );
            }
            (Kind::Http { .. }, "enable_sni") => {
                report.unused(entry, "lbd sends the host's name whenever it has one");
            }
            (Kind::Smtp { helo_name }, "helo_name") => *helo_name = Some(entry.value().to_owned()),
            (Kind::Dns { record, .. }, "type") => *record = entry.value().to_uppercase(),
            (Kind::Dns { name, .. }, "name") => *name = entry.value().to_owned(),
            (Kind::Misc { command, .. }, "misc_path") => {
                *command = value::script(entry, report).unwrap_or_default();
            }
            (Kind::Misc { timeout, .. }, "misc_timeout") => {
                *timeout = value::number(entry, 1..=u32::MAX, report);
            }
            (Kind::Misc { .. }, "misc_dynamic") => {
                report.unused(entry, "a check says up or down, and changes no weight");
            }
            (Kind::Misc { .. }, "user") => {
                report.unused(entry, "scripts run as the user that lbd runs as");
            }
            (Kind::Udp { payload, .. }, "payload") => *payload = hexadecimal(entry, report),
            (Kind::Udp { reply, .. }, "require_reply") => {
                *reply = match entry.values() {
                    [] => Some(Vec::new()),
                    _ => hexadecimal(entry, report),
                };
            }
            (Kind::Udp { .. }, "min_reply_length" | "max_reply_length") => {
                report.unused(entry, "lbd looks at what a reply says, not at its length");
            }
            (Kind::Bfd, "name") | (Kind::File, "track_file" | "weight" | "dynamic") => {}
            _ => return false,
        }
        true
    }
}

fn url(entry: &Entry, report: &mut Report) -> Url {
    let mut url = Url {
        place: entry.place.clone(),
        path: "/".to_owned(),
        status: Vec::new(),
        virtual_host: None,
        regex: None,
    };
    for entry in entry.entries() {
        match entry.key() {
            "path" => url.path = entry.value().to_owned(),
            "status_code" => url.status = entry.values().to_vec(),
            "virtualhost" => url.virtual_host = Some(entry.value().to_owned()),
            "regex" => url.regex = Some(entry.value().to_owned()),
            "digest" => report.unused(
                entry,
                "lbd compares no digest: say with body what the page must contain",
            ),
            "regex_no_match" | "regex_options" | "regex_stack" | "regex_min_offset"
            | "regex_max_offset" => {
                report.unused(entry, "lbd looks for a text in the page, without options");
            }
            _ => report.unused(entry, "unknown in url"),
        }
    }
    url
}

/// Digits in any groups; `.` stands for any digit, which lbd has no word for.
fn hexadecimal(entry: &Entry, report: &mut Report) -> Option<Vec<u8>> {
    let digits: String = entry.values().concat();
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let text = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    if bytes.is_none() {
        report.changed(entry, "only whole bytes in hexadecimal are taken over");
    }
    bytes.filter(|bytes| !bytes.is_empty())
}
