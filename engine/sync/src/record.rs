//! One conn or template within a message (kernel `struct ip_vs_sync_v4` and `struct ip_vs_sync_v6`).
//!
//! ```text
//!  0               1               2               3
//! +---------------+---------------+-------------------------------+
//! | type: 1 is v6 | protocol      | version: 0 | size of this one |
//! | flags                                                         |
//! | state                         | client's port                 |
//! | service's port                | server's port                 |
//! | mark                                                          |
//! | timeout in seconds                                            |
//! | client's address, service's, server's: 4 or 16 bytes each     |
//! | options: kind, length, bytes                                  |
//! ```
//!
//! A template has flag `TEMPLATE` and no client's port. That of a mark has protocol 0, and its mark in place of the
//! service's address (kernel `ip_vs_sched_persist`).

use lb_model::{Addr, Endpoint, Protocol};

use crate::conn::{AskedFor, State, SyncConn, SyncTemplate, SyncTemplateKey, flags};
use crate::message::Malformed;

/// A conn without options.
const V4: usize = 36;
const V6: usize = 72;
const TYPE_V6: u8 = 1;
/// Of its size; the bits above are its version, 0.
const SIZE_MASK: u16 = 0x0fff;

/// Sequence numbers' offsets of a conn whose bytes an application helper of the kernel's changes in number. They are read
/// over: no mode of lbd changes sequence numbers, and a conn that needs it cannot go on here whatever we remember.
const OPTION_SEQUENCES: u8 = 1;
const SEQUENCES_LEN: usize = 24;
/// What a persistence engine knows a client by, and the engine's name. They are read over: lbd has none of them.
const OPTION_ENGINE_DATA: u8 = 2;
const OPTION_ENGINE_NAME: u8 = 3;

/// The protocol of a mark's template, `IPPROTO_IP`.
const NO_PROTOCOL: u8 = 0;
/// The state of a template that was used in earnest, `IP_VS_CTPL_S_ASSURED`.
const ASSURED: u16 = 1;

/// What a message tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// A conn.
    Conn(SyncConn),
    /// A persistence template.
    Template(SyncTemplate),
}

impl From<SyncConn> for Told {
    fn from(conn: SyncConn) -> Told {
        Told::Conn(conn)
    }
}

impl From<SyncTemplate> for Told {
    fn from(template: SyncTemplate) -> Told {
        Told::Template(template)
    }
}

/// The fields as they lie there.
struct Record {
    protocol: u8,
    flags: u32,
    state: u16,
    mark: u32,
    timeout_s: u32,
    client: Endpoint,
    vip: Endpoint,
    server: Endpoint,
}

impl Told {
    /// Its size in a message.
    pub(crate) fn size(&self) -> usize {
        let client = match self {
            Told::Conn(conn) => conn.client.addr,
            Told::Template(template) => template.key.client,
        };
        if client.is_v4() { V4 } else { V6 }
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let record = Record::of(self);
        let size = self.size();
        let is_v6 = size == V6;
        bytes.extend([if is_v6 { TYPE_V6 } else { 0 }, record.protocol]);
        // It is below 4096.
        bytes.extend((size as u16).to_be_bytes());
        bytes.extend(record.flags.to_be_bytes());
        let ends = [record.client, record.vip, record.server];
        bytes.extend(record.state.to_be_bytes());
        bytes.extend(ends.iter().flat_map(|end| end.port.to_be_bytes()));
        bytes.extend(record.mark.to_be_bytes());
        bytes.extend(record.timeout_s.to_be_bytes());
        for end in ends {
            match end.addr.as_v4() {
                Some(v4) if !is_v6 => bytes.extend(v4),
                _ => bytes.extend(end.addr.octets()),
            }
        }
    }

    /// What stands at the beginning, if it is of a kind that we know, and what follows it.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Option<Told>, &[u8]), Malformed> {
        let (record, after) = Record::read(bytes)?;
        Ok((record.and_then(|record| record.told()), after))
    }
}

impl Record {
    fn of(told: &Told) -> Record {
        match told {
            Told::Conn(conn) => Record {
                protocol: conn.protocol as u8,
                flags: conn.flags & !flags::TEMPLATE,
                state: conn.state.0,
                mark: conn.mark,
                timeout_s: conn.timeout_s,
                client: conn.client,
                vip: conn.vip,
                server: conn.server,
            },
            Told::Template(template) => {
                let SyncTemplateKey { client, asked_for } = template.key;
                let (protocol, vip, mark) = match asked_for {
                    AskedFor::Service { protocol, vip } => (protocol as u8, vip, 0),
                    AskedFor::Mark(mark) => (
                        NO_PROTOCOL,
                        Endpoint::new(in_place_of(client, mark), 0),
                        mark,
                    ),
                };
                Record {
                    protocol,
                    flags: template.flags | flags::TEMPLATE,
                    state: if template.is_assured { ASSURED } else { 0 },
                    mark,
                    timeout_s: template.timeout_s,
                    client: Endpoint::new(client, 0),
                    vip,
                    server: template.server,
                }
            }
        }
    }

    /// `None`: it is of a protocol that is not ours, so somebody else's.
    fn told(&self) -> Option<Told> {
        let known = [Protocol::Tcp, Protocol::Udp];
        let protocol = known
            .into_iter()
            .find(|known| *known as u8 == self.protocol);
        if self.flags & flags::TEMPLATE == 0 {
            return Some(Told::Conn(SyncConn {
                protocol: protocol?,
                flags: self.flags,
                state: State(self.state),
                client: self.client,
                vip: self.vip,
                server: self.server,
                mark: self.mark,
                timeout_s: self.timeout_s,
            }));
        }
        let asked_for = match (protocol, self.protocol) {
            (Some(protocol), _) => AskedFor::Service {
                protocol,
                vip: self.vip,
            },
            // Its address says it, too; that of IPv6 in a quarter of its bytes.
            (None, NO_PROTOCOL) if self.mark != 0 => AskedFor::Mark(self.mark),
            (None, _) => return None,
        };
        Some(Told::Template(SyncTemplate {
            key: SyncTemplateKey {
                client: self.client.addr,
                asked_for,
            },
            server: self.server,
            flags: self.flags,
            is_assured: self.state == ASSURED,
            timeout_s: self.timeout_s,
        }))
    }

    /// `None`: it is IPv6 with addresses of IPv4, which nobody can have a conn between.
    fn read(bytes: &[u8]) -> Result<(Option<Record>, &[u8]), Malformed> {
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_be_bytes).ok_or(Malformed::Conn)
        };
        let half = |at: usize| {
            word(at & !3).map(|word| {
                if at & 2 == 0 {
                    (word >> 16) as u16
                } else {
                    word as u16
                }
            })
        };
        let [kind, protocol, ..] = *bytes else {
            return Err(Malformed::Conn);
        };
        let version_and_size = half(2)?;
        let size = usize::from(version_and_size & SIZE_MASK);
        let is_v6 = kind & TYPE_V6 != 0;
        let fixed = if is_v6 { V6 } else { V4 };
        if version_and_size & !SIZE_MASK != 0 || size < fixed || size > bytes.len() {
            return Err(Malformed::Conn);
        }
        check_options(&bytes[fixed..size])?;
        let len = if is_v6 { 16 } else { 4 };
        let address = |number: usize| {
            let bytes = &bytes[24 + number * len..][..len];
            match <[u8; 4]>::try_from(bytes) {
                Ok(v4) => Addr::v4(v4),
                Err(_) => Addr::v6(bytes.try_into().unwrap_or_default()),
            }
        };
        let record = Record {
            protocol,
            flags: word(4)?,
            state: half(8)?,
            client: Endpoint::new(address(0), half(10)?),
            vip: Endpoint::new(address(1), half(12)?),
            server: Endpoint::new(address(2), half(14)?),
            mark: word(16)?,
            timeout_s: word(20)?,
        };
        // The next one begins at a multiple of 4; the last need not end at one.
        let after = bytes.get(size.next_multiple_of(4)..).unwrap_or_default();
        let ends = [record.client, record.vip, record.server];
        let is_whole = ends.iter().all(|end| end.addr.is_v4() != is_v6);
        Ok((is_whole.then_some(record), after))
    }
}

/// A mark where an address of the client's family stands: its first four bytes.
fn in_place_of(client: Addr, mark: u32) -> Addr {
    if client.is_v4() {
        return Addr::v4(mark.to_be_bytes());
    }
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&mark.to_be_bytes());
    Addr::v6(bytes)
}

/// Whether options are as long as they say.
fn check_options(mut bytes: &[u8]) -> Result<(), Malformed> {
    while let [kind, len, rest @ ..] = bytes {
        let len = usize::from(*len);
        let fits = match *kind {
            OPTION_SEQUENCES => len == SEQUENCES_LEN,
            OPTION_ENGINE_DATA | OPTION_ENGINE_NAME => len > 0,
            _ => false,
        };
        bytes = rest.get(len..).filter(|_| fits).ok_or(Malformed::Option)?;
    }
    match bytes {
        [] => Ok(()),
        _ => Err(Malformed::Option),
    }
}
