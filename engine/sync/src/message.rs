//! Messages, one to a datagram.
//!
//! ```text
//!  0               1               2               3
//! +---------------+---------------+-------------------------------+
//! | 0             | sync id       | size of the message           |
//! | conns         | version: 1    | 0                             |
//! +---------------+---------------+-------------------------------+   then each conn, from a multiple of 4 on:
//! | type: 1 is v6 | protocol      | version: 0 | size of this one |
//! | flags                                                         |
//! | state                         | client's port                 |
//! | service's port                | server's port                 |
//! | mark                                                          |
//! | timeout in seconds                                            |
//! | client's address, service's, server's: 4 or 16 bytes each     |
//! | options: kind, length, bytes                                  |
//! ```

use lb_model::{Addr, Endpoint, Protocol};

use crate::conn::{State, SyncConn};

/// What fits into a datagram over Ethernet.
pub const LONGEST: usize = 1472;

const HEADER: usize = 8;
const VERSION: u8 = 1;
/// A conn without options.
const CONN_V4: usize = 36;
const CONN_V6: usize = 72;
const TYPE_V6: u8 = 1;
/// Of a conn's size; the bits above are its version, 0.
const SIZE_MASK: u16 = 0x0fff;

/// Options, of which a balancer of TCP and UDP needs none: what sequence numbers are changed by, and a persistence engine's
/// data and name.
const OPTION_SEQUENCES: u8 = 1;
const OPTION_ENGINE_DATA: u8 = 2;
const OPTION_ENGINE_NAME: u8 = 3;
/// Of the first.
const SEQUENCES_LEN: usize = 24;

/// Why a datagram was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// It is shorter than a header.
    #[error("shorter than a header")]
    Short,
    /// Its size is not what its header says.
    #[error("its size is not what its header says")]
    Size,
    /// Another version than 1.
    #[error("version {0} in place of 1")]
    Version(u8),
    /// A conn reaches beyond its end, or is shorter than it must be.
    #[error("a conn does not fit in")]
    Conn,
    /// An option reaches beyond its conn's end, or is none.
    #[error("an option does not fit in")]
    Option,
}

/// What a datagram says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Whose it is, where several groups of balancers share a network.
    pub sync_id: u8,
    /// The conns before the first that makes no sense.
    pub conns: Vec<SyncConn>,
    /// What is wrong with that one.
    pub fault: Option<Malformed>,
}

/// What was in a datagram.
pub type Received = Result<Message, Malformed>;

impl Message {
    /// Reads a datagram. As the kernel does it, conns that stand before a bad one are good.
    ///
    /// # Errors
    ///
    /// If it has no header that makes sense.
    pub fn read(bytes: &[u8]) -> Received {
        let [0, sync_id, size @ .., version, 0, 0] =
            *bytes.first_chunk::<HEADER>().ok_or(Malformed::Short)?
        else {
            return Err(Malformed::Version(0));
        };
        let [high, low, count] = size;
        if usize::from(u16::from_be_bytes([high, low])) != bytes.len() {
            return Err(Malformed::Size);
        }
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let mut message = Message {
            sync_id,
            conns: Vec::with_capacity(count.into()),
            fault: None,
        };
        let mut rest = &bytes[HEADER..];
        for _ in 0..count {
            match read_conn(rest) {
                Ok((conn, after)) => {
                    // Protocols that are not ours are somebody else's conns.
                    message.conns.extend(conn);
                    rest = after;
                }
                Err(fault) => {
                    message.fault = Some(fault);
                    break;
                }
            }
        }
        Ok(message)
    }
}

/// The conn at the beginning, if it is of a protocol of ours, and what follows it.
fn read_conn(bytes: &[u8]) -> Result<(Option<SyncConn>, &[u8]), Malformed> {
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
    let fixed = if is_v6 { CONN_V6 } else { CONN_V4 };
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
    let protocol = [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .find(|p| *p as u8 == protocol);
    let conn = SyncConn {
        protocol: protocol.unwrap_or(Protocol::Tcp),
        flags: word(4)?,
        state: State(half(8)?),
        client: Endpoint::new(address(0), half(10)?),
        vip: Endpoint::new(address(1), half(12)?),
        server: Endpoint::new(address(2), half(14)?),
        mark: word(16)?,
        timeout_s: word(20)?,
    };
    // The next one begins at a multiple of 4; the last need not end at one.
    let after = bytes.get(size.next_multiple_of(4)..).unwrap_or_default();
    Ok((protocol.map(|_| conn), after))
}

/// Whether options are as long as they say; what they say is for conns of kinds that we have not.
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

/// Puts conns into datagrams.
#[derive(Clone, Debug)]
pub struct Packer {
    sync_id: u8,
    longest: usize,
    bytes: Vec<u8>,
}

impl Packer {
    /// For datagrams of this group, of at most so many bytes; one conn is in each however short they are to be.
    pub fn new(sync_id: u8, longest: usize) -> Packer {
        Packer {
            sync_id,
            longest,
            bytes: Vec::new(),
        }
    }

    /// Adds a conn; the datagram before it if it does not fit in any more.
    pub fn add(&mut self, conn: &SyncConn) -> Option<Vec<u8>> {
        let is_v6 = !conn.client.addr.is_v4();
        let size = if is_v6 { CONN_V6 } else { CONN_V4 };
        let count = self.bytes.get(4).copied().unwrap_or(0);
        let is_full = count == u8::MAX || self.bytes.len() + size > self.longest.max(HEADER + size);
        let full = (is_full && count > 0).then(|| self.take()).flatten();
        if self.bytes.is_empty() {
            self.bytes.extend([0, self.sync_id, 0, 0, 0, VERSION, 0, 0]);
        }
        self.bytes[4] += 1;
        let kind = if is_v6 { TYPE_V6 } else { 0 };
        self.bytes.extend([kind, conn.protocol as u8]);
        // A conn's size is below 4096.
        self.bytes.extend((size as u16).to_be_bytes());
        self.bytes.extend(conn.flags.to_be_bytes());
        let halves = [
            conn.state.0,
            conn.client.port,
            conn.vip.port,
            conn.server.port,
        ];
        self.bytes
            .extend(halves.iter().flat_map(|half| half.to_be_bytes()));
        self.bytes.extend(conn.mark.to_be_bytes());
        self.bytes.extend(conn.timeout_s.to_be_bytes());
        for end in [conn.client, conn.vip, conn.server] {
            match end.addr.as_v4() {
                Some(v4) if !is_v6 => self.bytes.extend(v4),
                _ => self.bytes.extend(end.addr.octets()),
            }
        }
        full
    }

    /// The datagram so far, if there is anything in it.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.bytes);
        // A datagram is shorter than 64 KiB, for 255 conns of 72 bytes are.
        let size = (bytes.len() as u16).to_be_bytes();
        bytes.get_mut(2..4)?.copy_from_slice(&size);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::flags;
    use lb_model::ConnState;
    use proptest::prelude::*;

    /// A message with one conn of IPv4, put together by hand from `struct ip_vs_sync_mesg` and `struct ip_vs_sync_v4`.
    const V4: [u8; 44] = [
        0, 7, 0, 44, // reserved, sync id, size
        1, 1, 0, 0, // conns, version, spare
        0, 6, 0, 36, // type, protocol, version and size
        0, 0, 0x01, 0x03, // flags: inactive, direct routing
        0, 4, // state: FIN_WAIT
        0x0f, 0xa0, // cport 4000
        0, 80, // vport
        0, 80, // dport
        0, 0, 0, 9, // fwmark
        0, 0, 0, 120, // timeout
        192, 0, 2, 1, // caddr
        10, 0, 0, 100, // vaddr
        10, 1, 0, 11, // daddr
    ];

    fn conn_v4() -> SyncConn {
        let end = |text: &str| text.parse().expect("an endpoint");
        SyncConn {
            protocol: Protocol::Tcp,
            flags: flags::INACTIVE | 3,
            state: State::of(ConnState::FinWait),
            client: end("192.0.2.1:4000"),
            vip: end("10.0.0.100:80"),
            server: end("10.1.0.11:80"),
            mark: 9,
            timeout_s: 120,
        }
    }

    fn conn_v6() -> SyncConn {
        let end = |text: &str| text.parse().expect("an endpoint");
        SyncConn {
            protocol: Protocol::Udp,
            flags: 0,
            state: State(0),
            client: end("[2001:db8::1]:5000"),
            vip: end("[2001:db8::64]:53"),
            server: end("[2001:db8:1::b]:5353"),
            mark: 0,
            timeout_s: 300,
        }
    }

    #[test]
    fn a_conn_is_written_and_read_as_the_kernel_lays_it_out() {
        let mut packer = Packer::new(7, LONGEST);
        assert_eq!(packer.add(&conn_v4()), None);
        assert_eq!(packer.take().as_deref(), Some(&V4[..]));
        assert_eq!(packer.take(), None);
        let message = Message::read(&V4).expect("a message");
        assert_eq!((message.sync_id, message.fault), (7, None));
        assert_eq!(message.conns, [conn_v4()]);
    }

    #[test]
    fn ipv6_has_a_type_and_longer_addresses() {
        let mut packer = Packer::new(0, LONGEST);
        packer.add(&conn_v6());
        let bytes = packer.take().expect("a message");
        assert_eq!(bytes.len(), 8 + 72);
        assert_eq!(bytes[8..12], [1, 17, 0, 72]);
        assert_eq!(bytes[32..48], *conn_v6().client.addr.octets());
        assert_eq!(Message::read(&bytes).expect("a message").conns, [conn_v6()]);
    }

    /// A kernel adds options to conns of `ip_vs_ftp`, and of persistence engines.
    #[test]
    fn options_are_passed_over_and_the_next_conn_begins_at_a_multiple_of_four() {
        let mut bytes = V4.to_vec();
        let sequences = [&[1, 24][..], &[0xaa; 24]].concat();
        let engine = [3, 3, b's', b'i', b'p'];
        bytes.extend(&sequences);
        bytes.extend(engine);
        let size = 36 + sequences.len() + engine.len();
        bytes[11] = size as u8;
        bytes.extend(vec![0; size.next_multiple_of(4) - size]);
        bytes.extend(&V4[8..]);
        bytes[4] = 2;
        bytes[3] = bytes.len() as u8;
        let message = Message::read(&bytes).expect("a message");
        assert_eq!(
            (&message.conns[..], message.fault),
            (&[conn_v4(); 2][..], None)
        );

        // The last one's padding may be missing.
        let cut = 8 + size;
        bytes.truncate(cut);
        (bytes[3], bytes[4]) = (cut as u8, 1);
        assert_eq!(Message::read(&bytes).expect("a message").conns.len(), 1);
        bytes[8 + 36 + 1] = 25;
        assert_eq!(
            Message::read(&bytes).expect("a message").fault,
            Some(Malformed::Option)
        );
    }

    #[test]
    fn what_is_no_message_is_refused_and_good_conns_before_a_bad_one_are_taken() {
        let with = |change: fn(&mut Vec<u8>)| {
            let mut bytes = V4.to_vec();
            change(&mut bytes);
            Message::read(&bytes)
        };
        assert_eq!(Message::read(&V4[..7]), Err(Malformed::Short));
        assert_eq!(Message::read(&V4[..43]), Err(Malformed::Size));
        assert_eq!(with(|b| b[5] = 2), Err(Malformed::Version(2)));
        // Version 0, which has the number of conns where version 1 has a zero.
        assert_eq!(with(|b| b[0] = 1), Err(Malformed::Version(0)));
        let fault = |message: Received| message.map(|message| (message.conns.len(), message.fault));
        assert_eq!(fault(with(|b| b[11] = 35)), Ok((0, Some(Malformed::Conn))));
        assert_eq!(fault(with(|b| b[11] = 37)), Ok((0, Some(Malformed::Conn))));
        assert_eq!(
            fault(with(|b| b[10] = 0x10)),
            Ok((0, Some(Malformed::Conn)))
        );
        assert_eq!(fault(with(|b| b[8] = 1)), Ok((0, Some(Malformed::Conn))));
        assert_eq!(fault(with(|b| b[4] = 2)), Ok((1, Some(Malformed::Conn))));
        assert_eq!(
            fault(with(|b| b[9] = 132)),
            Ok((0, None)),
            "SCTP is somebody else's"
        );
    }

    #[test]
    fn a_full_datagram_makes_room_for_the_next() {
        let mut packer = Packer::new(0, 8 + 2 * 36);
        assert_eq!(packer.add(&conn_v4()), None);
        assert_eq!(packer.add(&conn_v4()), None);
        let full = packer.add(&conn_v4()).expect("a datagram");
        assert_eq!(Message::read(&full).expect("a message").conns.len(), 2);
        let rest = packer.take().expect("the third");
        assert_eq!(Message::read(&rest).expect("a message").conns.len(), 1);
        // However short they are to be.
        let mut packer = Packer::new(0, 1);
        assert_eq!(packer.add(&conn_v6()), None);
        assert!(packer.add(&conn_v6()).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::read(&bytes);
        }

        #[test]
        fn any_change_of_a_message_is_one_or_not(at in 0..44_usize, byte in any::<u8>()) {
            let mut bytes = V4;
            bytes[at] = byte;
            let _ = Message::read(&bytes);
        }
    }
}
