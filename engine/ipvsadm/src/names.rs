//! Names of hosts and ports, which this crate does not look up itself.

use std::net::Ipv4Addr;

use crate::Transport;

/// Knows names. What it does not know is an error where it is typed and a number where it is listed.
pub trait Names {
    /// The address of a host; like ipvsadm, IPv4 only.
    fn host(&self, name: &str) -> Option<Ipv4Addr>;

    /// The port of a service.
    fn port(&self, name: &str, transport: Transport) -> Option<u16>;

    /// The name of a port.
    fn service(&self, port: u16, transport: Transport) -> Option<&str>;
}

/// Knows no names.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

impl Names for NoNames {
    fn host(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn port(&self, _: &str, _: Transport) -> Option<u16> {
        None
    }

    fn service(&self, _: u16, _: Transport) -> Option<&str> {
        None
    }
}

/// Knows the port names of an `/etc/services`, and no hosts.
#[derive(Clone, Debug, Default)]
pub struct ServiceNames {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The official name first, then others.
    names: Vec<String>,
    port: u16,
    transport: Transport,
}

impl ServiceNames {
    /// Takes the text of an `/etc/services`; lines it cannot use do not matter.
    pub fn from_text(text: &str) -> ServiceNames {
        let entries = text.lines().filter_map(Entry::from_line).collect();
        ServiceNames { entries }
    }
}

impl Entry {
    /// `http 80/tcp www # WorldWideWeb HTTP`
    fn from_line(line: &str) -> Option<Entry> {
        let rule = line.split('#').next()?;
        let mut words = rule.split_ascii_whitespace();
        let official = words.next()?;
        let (port, transport) = words.next()?.split_once('/')?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "sctp" => Transport::Sctp,
            _ => return None,
        };
        Some(Entry {
            names: std::iter::once(official)
                .chain(words)
                .map(str::to_owned)
                .collect(),
            port: port.parse().ok()?,
            transport,
        })
    }
}

impl Names for ServiceNames {
    fn host(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        let mut of_transport = self.entries.iter().filter(|e| e.transport == transport);
        of_transport
            .find(|e| e.names.iter().any(|n| n == name))
            .map(|e| e.port)
    }

    fn service(&self, port: u16, transport: Transport) -> Option<&str> {
        let mut of_transport = self.entries.iter().filter(|e| e.transport == transport);
        of_transport
            .find(|e| e.port == port)
            .and_then(|e| e.names.first())
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_lead_to_a_port_and_a_port_to_the_official_name() {
        let names = ServiceNames::from_text(
            "# ports\nhttp\t80/tcp www # web\ndomain 53/udp\nx y\nbad 99999/tcp\n",
        );
        assert_eq!(names.port("www", Transport::Tcp), Some(80));
        assert_eq!(names.port("http", Transport::Udp), None);
        assert_eq!(names.port("bad", Transport::Tcp), None);
        assert_eq!(names.service(80, Transport::Tcp), Some("http"));
        assert_eq!(names.service(53, Transport::Tcp), None);
    }
}
