//! The TCP option that tells a server of its client: kind 254, as DPVS's `toa` modules read it, or ENAT's longer form.
//! `docs/wire-formats.md` has the bytes, and in which segments they are.

use lb_model::{Conn, Endpoint, HopCache, Introduction, Packet};
use lb_wire::checksum::Change;
use lb_wire::{TcpFlags, TcpHeader};

use crate::insert::{NoRoom, fits, insert};

/// RFC 4727 section 7: experimental.
const KIND: u8 = 254;
const END_OF_LIST: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
/// The data offset counts no further than 15 words.
const LONGEST_HEADER: usize = 60;
/// Marks the 12-byte form: `EN`.
const ENAT_MAGIC: [u8; 2] = *b"EN";

/// Which of the two a mode writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The client.
    Toa,
    /// The client and, over IPv4, the port of the service. A SYN over IPv6 has no room for that.
    Enat,
}

/// An option's bytes: whole words, in one piece for each length, so that it is put together and summed in registers.
pub enum Bytes {
    /// The client's port and address.
    Toa([u8; 8]),
    /// The port of the service and a mark besides.
    Enat([u8; 12]),
    /// The client's port and IPv6 address.
    V6([u8; 20]),
}

impl Form {
    fn len(self, is_v4: bool) -> u16 {
        match (self, is_v4) {
            (_, false) => 20,
            (Form::Toa, true) => 8,
            (Form::Enat, true) => 12,
        }
    }

    /// The option of this kind; its length is the second byte.
    #[inline(always)]
    pub fn bytes(self, kind: u8, client: Endpoint, vport: u16) -> Bytes {
        let v4 = client.addr.as_v4();
        let len = self.len(v4.is_some()) as u8;
        // Words of the machine, put together as they are to be read: the processor waits where a word is read of which
        // parts have just been written.
        let start = u32::from_be_bytes([kind, len, 0, 0]) | u32::from(client.port);
        let start = start.to_be_bytes();
        match (v4, self) {
            (Some(v4), Form::Toa) => Bytes::Toa(joined(&start, &v4)),
            (Some(v4), Form::Enat) => {
                let end: [u8; 4] = joined(&vport.to_be_bytes(), &ENAT_MAGIC);
                Bytes::Enat(joined(&joined::<4, 4, 8>(&start, &v4), &end))
            }
            (None, _) => Bytes::V6(joined(&start, client.addr.octets())),
        }
    }
}

/// One after the other.
#[inline(always)]
pub fn joined<const FIRST: usize, const SECOND: usize, const BOTH: usize>(
    first: &[u8; FIRST],
    second: &[u8; SECOND],
) -> [u8; BOTH] {
    const { assert!(FIRST + SECOND == BOTH, "nothing is left out") };
    let mut both = [0; BOTH];
    both[..FIRST].copy_from_slice(first);
    both[FIRST..].copy_from_slice(second);
    both
}

/// A segment from the client: what it says of its sender itself goes, and what we say comes if
/// the conn is still at that.
#[inline(always)]
pub fn inbound(packet: &mut Packet, conn: Conn<'_>, form: Form, hops: &mut HopCache) {
    if may_be_forged(packet) {
        remove_forged(packet);
    }
    let tells = match conn.introduction() {
        Introduction::TcpOption => true,
        Introduction::TcpOptionUntilMoreThan(number) => {
            is_first(packet) || acknowledged(packet) == Some(number)
        }
        _ => false,
    };
    if tells {
        introduce(packet, conn, form, hops);
    }
}

/// Whether it is the client's SYN.
#[inline(always)]
fn is_first(packet: &Packet) -> bool {
    let flags = TcpFlags(packet.headers.tcp_flags);
    flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK)
}

#[inline(never)]
fn introduce(packet: &mut Packet, conn: Conn<'_>, form: Form, hops: &mut HopCache) {
    let is_first = is_first(packet);
    if conn.introduction() == Introduction::TcpOption
        && !is_first
        && let Some(acknowledged) = acknowledged(packet)
    {
        // The server's SYN did not pass us. That its first acknowledgement is of anything more, a client can only say to
        // its own disadvantage.
        conn.introduced(Introduction::TcpOptionUntilMoreThan(acknowledged));
    }
    let added = match form.bytes(KIND, conn.client(), conn.vip().port) {
        Bytes::Toa(option) => add(packet, &option, hops),
        Bytes::Enat(option) => add(packet, &option, hops),
        Bytes::V6(option) => add(packet, &option, hops),
    };
    packet.without_client_address = added.is_err();
    if is_first {
        let len = form.len(packet.is_v4());
        lower_segment_size(packet, len, if added.is_ok() { len } else { 0 });
    }
}

/// A segment from the server: its SYN says until when the client is told of.
#[inline(always)]
pub fn outbound(packet: &mut Packet, conn: Conn<'_>, form: Form) {
    let is_told = matches!(
        conn.introduction(),
        Introduction::TcpOption | Introduction::TcpOptionUntilMoreThan(_)
    );
    if is_told && TcpFlags(packet.headers.tcp_flags).has(TcpFlags::SYN) {
        tell_until(packet, conn, form);
    }
}

#[inline(never)]
fn tell_until(packet: &mut Packet, conn: Conn<'_>, form: Form) {
    let l4 = usize::from(packet.headers.l4);
    if let Some(tcp) = TcpHeader::at(packet.frame.bytes(), l4) {
        let number = tcp.sequence.get().wrapping_add(1);
        let until = Introduction::TcpOptionUntilMoreThan(number);
        conn.introduced(until);
    }
    lower_segment_size(packet, form.len(packet.is_v4()), 0);
}

#[inline(always)]
fn acknowledged(packet: &Packet) -> Option<u32> {
    let tcp = TcpHeader::at(packet.frame.bytes(), usize::from(packet.headers.l4))?;
    TcpFlags(tcp.flags)
        .has(TcpFlags::ACK)
        .then(|| tcp.acknowledgement.get())
}

/// Puts `option` first among the options. The sequence numbers do not count it.
fn add<const LENGTH: usize>(
    packet: &mut Packet,
    option: &[u8; LENGTH],
    hops: &mut HopCache,
) -> Result<(), NoRoom> {
    let (l4, end) = (
        usize::from(packet.headers.l4),
        usize::from(packet.headers.end),
    );
    let header_len = TcpHeader::at(packet.frame.bytes(), l4)
        .ok_or(NoRoom)?
        .header_len();
    if header_len + LENGTH > LONGEST_HEADER || !fits(packet, LENGTH, hops) {
        return Err(NoRoom);
    }
    insert(packet, l4 + TcpHeader::LEN, option)?;
    let segment_len = (end - l4) as u16;
    if let Some(tcp) = TcpHeader::at_mut(packet.frame.bytes_mut(), l4) {
        let old = u16::from_be_bytes([tcp.data_offset, tcp.flags]);
        tcp.data_offset += ((LENGTH / 4) as u8) << 4;
        let new = u16::from_be_bytes([tcp.data_offset, tcp.flags]);
        let change = Change::default()
            .word(old, new)
            .word(segment_len, segment_len + LENGTH as u16)
            .added(option);
        tcp.checksum = change.apply(tcp.checksum);
    }
    Ok(())
}

/// Whether there are options besides what nearly every segment has alone: two no-operations, a time stamp of ten bytes.
#[inline(always)]
fn may_be_forged(packet: &Packet) -> bool {
    const TIME_STAMP: [u8; 4] = [1, 1, 8, 10];
    const LEN_WITH_TIME_STAMP: usize = TcpHeader::LEN + 12;
    let (frame, l4) = (packet.frame.bytes(), usize::from(packet.headers.l4));
    let Some(tcp) = TcpHeader::at(frame, l4) else {
        return false;
    };
    match tcp.header_len() {
        TcpHeader::LEN => false,
        LEN_WITH_TIME_STAMP => {
            frame
                .get(l4 + TcpHeader::LEN..)
                .and_then(<[u8]>::first_chunk)
                != Some(&TIME_STAMP)
        }
        _ => true,
    }
}

/// Overwrites what could be taken for ours with no-operations, wherever it is.
#[inline(never)]
fn remove_forged(packet: &mut Packet) {
    let l4 = usize::from(packet.headers.l4);
    let Some(options) = options_mut(packet) else {
        return;
    };
    let mut change = Change::default();
    let mut found = false;
    for_each(options, |options, at, kind, len| {
        if kind == KIND {
            found = true;
            for (at, byte) in (at..).zip(&mut options[at..at + len]) {
                change = change.byte(at, *byte, NO_OPERATION);
                *byte = NO_OPERATION;
            }
        }
    });
    if found && let Some(tcp) = TcpHeader::at_mut(packet.frame.bytes_mut(), l4) {
        tcp.checksum = change.apply(tcp.checksum);
    }
}

/// Makes room for `by` bytes of ours in the segments that the sender of this SYN gets; of its options so many bytes are ours.
fn lower_segment_size(packet: &mut Packet, by: u16, ours: u16) {
    let l4 = usize::from(packet.headers.l4);
    let options = options_mut(packet);
    let Some(options) = options.and_then(|options| options.get_mut(ours.into()..)) else {
        return;
    };
    if options.is_empty() {
        return;
    }
    let mut change = Change::default();
    for_each(options, |options, at, kind, len| {
        if kind != MAXIMUM_SEGMENT_SIZE || len != 4 {
            return;
        }
        let old = u16::from_be_bytes([options[at + 2], options[at + 3]]);
        if old > by {
            let new = (old - by).to_be_bytes();
            for (at, byte) in [at + 2, at + 3].into_iter().zip(new) {
                change = change.byte(at, options[at], byte);
                options[at] = byte;
            }
        }
    });
    if let Some(tcp) = TcpHeader::at_mut(packet.frame.bytes_mut(), l4) {
        tcp.checksum = change.apply(tcp.checksum);
    }
}

fn options_mut(packet: &mut Packet) -> Option<&mut [u8]> {
    let (l4, end) = (
        usize::from(packet.headers.l4),
        usize::from(packet.headers.end),
    );
    let frame = packet.frame.bytes_mut();
    let header_len = TcpHeader::at(frame, l4)?.header_len();
    frame.get_mut(l4..end)?.get_mut(TcpHeader::LEN..header_len)
}

/// Calls `visit` with the place, kind and length of every option that is longer than a byte. Ends where a receiver ends: at the
/// end of the list, or at an option that cannot be (kernel `tcp_parse_options`).
fn for_each(options: &mut [u8], mut visit: impl FnMut(&mut [u8], usize, u8, usize)) {
    let mut at = 0;
    while let Some(kind) = options.get(at).copied() {
        match kind {
            END_OF_LIST => return,
            NO_OPERATION => at += 1,
            _ => {
                let len = usize::from(options.get(at + 1).copied().unwrap_or(0));
                if len < 2 || at + len > options.len() {
                    return;
                }
                visit(options, at, kind, len);
                at += len;
            }
        }
    }
}
