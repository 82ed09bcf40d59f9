//! Messages, one to a datagram.
//!
//! ```text
//!  0               1               2               3
//! +---------------+---------------+-------------------------------+
//! | 0             | sync id       | size of the message           |
//! | conns         | version: 1    | 0                             |
//! +---------------+---------------+-------------------------------+   then each conn, from a multiple of 4 on
//! ```

use crate::record::Told;

/// What fits into a datagram over Ethernet.
pub const LONGEST: usize = 1472;

const HEADER: usize = 8;
const VERSION: u8 = 1;

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
    /// The conns and templates before the first that makes no sense.
    pub told: Vec<Told>,
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
            told: Vec::with_capacity(count.into()),
            fault: None,
        };
        let mut rest = &bytes[HEADER..];
        for _ in 0..count {
            match Told::read(rest) {
                Ok((told, after)) => {
                    message.told.extend(told);
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

    /// Adds a conn or a template; the datagram before it if it does not fit in any more.
    pub fn add(&mut self, told: &Told) -> Option<Vec<u8>> {
        let size = told.size();
        let count = self.bytes.get(4).copied().unwrap_or(0);
        let is_full = count == u8::MAX || self.bytes.len() + size > self.longest.max(HEADER + size);
        let full = (is_full && count > 0).then(|| self.take()).flatten();
        if self.bytes.is_empty() {
            self.bytes.extend([0, self.sync_id, 0, 0, 0, VERSION, 0, 0]);
        }
        self.bytes[4] += 1;
        told.write(&mut self.bytes);
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
    use crate::conn::{AskedFor, State, SyncConn, SyncTemplate, SyncTemplateKey, flags};
    use lb_model::{Addr, ConnState, Endpoint, Protocol};
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
        assert_eq!(packer.add(&conn_v4().into()), None);
        assert_eq!(packer.take().as_deref(), Some(&V4[..]));
        assert_eq!(packer.take(), None);
        let message = Message::read(&V4).expect("a message");
        assert_eq!((message.sync_id, message.fault), (7, None));
        assert_eq!(message.told, [conn_v4().into()]);
    }

    #[test]
    fn ipv6_has_a_type_and_longer_addresses() {
        let mut packer = Packer::new(0, LONGEST);
        packer.add(&conn_v6().into());
        let bytes = packer.take().expect("a message");
        assert_eq!(bytes.len(), 8 + 72);
        assert_eq!(bytes[8..12], [1, 17, 0, 72]);
        assert_eq!(bytes[32..48], *conn_v6().client.addr.octets());
        assert_eq!(
            Message::read(&bytes).expect("a message").told,
            [conn_v6().into()]
        );
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
            (&message.told[..], message.fault),
            (&[conn_v4().into(); 2][..], None)
        );

        // The last one's padding may be missing.
        let cut = 8 + size;
        bytes.truncate(cut);
        (bytes[3], bytes[4]) = (cut as u8, 1);
        assert_eq!(Message::read(&bytes).expect("a message").told.len(), 1);
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
        let fault = |message: Received| message.map(|message| (message.told.len(), message.fault));
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
        assert_eq!(packer.add(&conn_v4().into()), None);
        assert_eq!(packer.add(&conn_v4().into()), None);
        let full = packer.add(&conn_v4().into()).expect("a datagram");
        assert_eq!(Message::read(&full).expect("a message").told.len(), 2);
        let rest = packer.take().expect("the third");
        assert_eq!(Message::read(&rest).expect("a message").told.len(), 1);
        // However short they are to be.
        let mut packer = Packer::new(0, 1);
        assert_eq!(packer.add(&conn_v6().into()), None);
        assert!(packer.add(&conn_v6().into()).is_some());
    }

    /// As `ip_vs_sched_persist` makes them: no client's port, a mark's without a protocol and with the mark for an address.
    #[test]
    fn templates_are_laid_out_as_conns_without_a_clients_port() {
        let end = |text: &str| text.parse::<Endpoint>().expect("an endpoint");
        let of_service = SyncTemplate {
            key: SyncTemplateKey {
                client: end("192.0.2.0:0").addr,
                asked_for: AskedFor::Service {
                    protocol: Protocol::Tcp,
                    vip: end("10.0.0.100:80"),
                },
            },
            server: end("10.1.0.11:80"),
            flags: flags::TEMPLATE | flags::NO_OUTPUT | 3,
            is_assured: true,
            timeout_s: 300,
        };
        let of_mark = |client: &str, server: &str| SyncTemplate {
            key: SyncTemplateKey {
                client: end(client).addr,
                asked_for: AskedFor::Mark(7),
            },
            server: end(server),
            flags: flags::TEMPLATE,
            is_assured: false,
            timeout_s: 60,
        };
        let v4 = of_mark("192.0.2.0:0", "10.1.0.11:0");
        let v6 = of_mark("[2001:db8::]:0", "[2001:db8:1::b]:0");
        let mut packer = Packer::new(0, LONGEST);
        for template in [of_service, v4, v6] {
            assert_eq!(packer.add(&template.into()), None);
        }
        let bytes = packer.take().expect("a message");
        #[rustfmt::skip]
        let expected = [
            0, 6, 0, 36, 0, 0, 0x10, 0x83, 0, 1, 0, 0, 0, 80, 0, 80, 0, 0, 0, 0, 0, 0, 1, 44,
            192, 0, 2, 0, 10, 0, 0, 100, 10, 1, 0, 11,
            0, 0, 0, 36, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 60,
            192, 0, 2, 0, 0, 0, 0, 7, 10, 1, 0, 11,
            1, 0, 0, 72,
        ];
        assert_eq!(bytes[8..8 + expected.len()], expected);
        assert_eq!(bytes[8 + 72 + 40..][..6], [0, 0, 0, 7, 0, 0]);
        let read = Message::read(&bytes).expect("a message");
        assert_eq!(read.told, [of_service, v4, v6].map(Told::from));
        assert_eq!(read.fault, None);
    }

    #[test]
    fn what_has_no_place_among_ours_is_passed_over() {
        let mut packer = Packer::new(0, LONGEST);
        packer.add(&conn_v6().into());
        let v6 = packer.take().expect("a message");
        let read = |change: &dyn Fn(&mut Vec<u8>), whole: &[u8]| {
            let mut bytes = whole.to_vec();
            change(&mut bytes);
            let message = Message::read(&bytes).expect("a message");
            (message.told.len(), message.fault)
        };
        // IPv6 conns between addresses of IPv4.
        for end in 0..3 {
            let mapped = |bytes: &mut Vec<u8>| {
                let mapped = Addr::v4([192, 0, 2, 1]);
                bytes[32 + 16 * end..][..16].copy_from_slice(mapped.octets());
            };
            assert_eq!(read(&mapped, &v6), (0, None), "{end}");
        }
        // A template of SCTP, and one of neither a protocol nor a mark.
        let template = |protocol: u8, mark: u8| {
            move |bytes: &mut Vec<u8>| {
                (bytes[9], bytes[14], bytes[27]) = (protocol, 0x10, mark);
            }
        };
        assert_eq!(read(&template(6, 0), &V4), (1, None));
        assert_eq!(read(&template(0, 9), &V4), (1, None));
        assert_eq!(read(&template(132, 9), &V4), (0, None));
        assert_eq!(read(&template(0, 0), &V4), (0, None));
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
