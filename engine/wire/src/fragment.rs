//! Fragments: reading one, and taking a packet apart (RFC 791 section 3.2, RFC 8200 section 4.5).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{fold, sum};
use crate::ipv4_options::blank_not_copied;
use crate::parse::{
    DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, MAX_EXTENSION_HEADERS, ROUTING, payload,
};
use crate::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, IpHeader, Ipv4Header, Ipv6Header};

/// IPv6's header of a fragment.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
struct FragmentHeader {
    next: u8,
    reserved: u8,
    /// In bytes, with the lowest bit telling of more.
    offset_more: U16,
    id: U32,
}

const FRAGMENT_LEN: usize = size_of::<FragmentHeader>();
const MORE: u16 = 1;

/// A fragment, and what its packet will be put together from.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    /// The IP header.
    pub ip: IpHeader<'a>,
    /// Offset of the IP header.
    pub l3: usize,
    /// What was fragmented: an IP protocol number, in IPv6 maybe that of one more extension header.
    pub protocol: u8,
    /// What tells its packet from others between the two hosts.
    pub id: u32,
    /// Where in the packet's payload its part begins.
    pub offset: usize,
    /// Whether more follow.
    pub more: bool,
    /// Whether it says that routers must not fragment it further.
    pub dont_fragment: bool,
    /// Its part of the payload.
    pub payload: &'a [u8],
    /// All in front of the payload but IPv6's own header of a fragment.
    header: &'a [u8],
    /// The place in `header` that says what comes next, in IPv6.
    next_at: Option<usize>,
}

/// Reads a frame that [`parse`](crate::parse()) refused as a [fragment](crate::Refused::Fragment); `None` if it
/// contradicts itself.
pub fn fragment(frame: &[u8]) -> Option<Fragment<'_>> {
    let (ethertype, l3) = payload(frame).ok()?;
    let read = match ethertype {
        ETHERTYPE_IPV4 => read_v4(frame, l3)?,
        ETHERTYPE_IPV6 => read_v6(frame, l3)?,
        _ => return None,
    };
    let whole_units = read.payload.len().is_multiple_of(8) || !read.more;
    let fits = read.offset + read.payload.len() <= usize::from(u16::MAX);
    (!read.payload.is_empty() && whole_units && fits).then_some(read)
}

impl Fragment<'_> {
    /// The length of its IP packet.
    pub fn len(&self) -> usize {
        let extra = if self.next_at.is_some() {
            FRAGMENT_LEN
        } else {
            0
        };
        self.header.len() - self.l3 + extra + self.payload.len()
    }

    /// Whether it has nothing of the payload, which no fragment that could be read does.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// What stands before the payload of the whole packet, if this is its first fragment, up to `room` bytes of it.
    /// Its lengths are not right yet: see [`finish_header`].
    pub fn write_header(&self, to: &mut [u8]) -> Option<usize> {
        let place = to.get_mut(..self.header.len())?;
        place.copy_from_slice(self.header);
        if let Some(at) = self.next_at {
            place[at] = self.protocol;
        }
        Some(self.header.len())
    }
}

/// Makes the header of a first fragment, of which the IP part begins at `l3`, that of a whole packet with a payload of
/// `payload_len` bytes.
pub fn finish_header(
    header: &mut [u8],
    l3: usize,
    payload_len: usize,
    dont_fragment: bool,
) -> Option<()> {
    let is_v4 = header.get(l3)? >> 4 == 4;
    let behind = header.len() - l3;
    if is_v4 {
        let ip = Ipv4Header::at_mut(header, l3)?;
        ip.total_len = U16::new(u16::try_from(behind + payload_len).ok()?);
        let flags = if dont_fragment {
            Ipv4Header::DONT_FRAGMENT
        } else {
            0
        };
        ip.flags_offset = U16::new(flags);
        sum_header(header.get_mut(l3..)?)
    } else {
        let ip = Ipv6Header::at_mut(header, l3)?;
        let extensions = behind - Ipv6Header::LEN;
        ip.payload_len = U16::new(u16::try_from(extensions + payload_len).ok()?);
        Some(())
    }
}

fn sum_header(header: &mut [u8]) -> Option<()> {
    Ipv4Header::at_mut(header, 0)?.checksum = U16::ZERO;
    let checksum = !fold(sum(header));
    Ipv4Header::at_mut(header, 0)?.checksum = U16::new(checksum);
    Some(())
}

fn read_v4(frame: &[u8], l3: usize) -> Option<Fragment<'_>> {
    let ip = Ipv4Header::at(frame, l3)?;
    let begin = l3 + ip.header_len();
    Some(Fragment {
        ip: IpHeader::V4(ip),
        l3,
        protocol: ip.protocol,
        id: ip.id.get().into(),
        offset: ip.fragment_offset(),
        more: ip.more_fragments(),
        dont_fragment: ip.dont_fragment(),
        payload: frame.get(begin..l3 + usize::from(ip.total_len.get()))?,
        header: &frame[..begin],
        next_at: None,
    })
}

fn read_v6(frame: &[u8], l3: usize) -> Option<Fragment<'_>> {
    let ip = Ipv6Header::at(frame, l3)?;
    let end = l3 + Ipv6Header::LEN + usize::from(ip.payload_len.get());
    let packet = frame.get(..end)?;
    let (at, next_at) = unfragmentable_v6(packet, l3, |kind| kind != FRAGMENT)?;
    let (header, payload) = FragmentHeader::ref_from_prefix(&packet[at..]).ok()?;
    let offset_more = header.offset_more.get();
    Some(Fragment {
        ip: IpHeader::V6(ip),
        l3,
        protocol: header.next,
        id: header.id.get(),
        offset: usize::from(offset_more & !0b111),
        more: offset_more & MORE != 0,
        dont_fragment: false,
        payload,
        header: &packet[..at],
        next_at: Some(next_at),
    })
}

/// Where the extension headers end that `skip` tells to, and where the last of them says what comes next.
fn unfragmentable_v6(
    packet: &[u8],
    l3: usize,
    skip: impl Fn(u8) -> bool,
) -> Option<(usize, usize)> {
    let mut next_at = l3 + 6;
    let mut at = l3 + Ipv6Header::LEN;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let kind = *packet.get(next_at)?;
        if !matches!(kind, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) || !skip(kind) {
            return Some((at, next_at));
        }
        next_at = at;
        at += 8 + 8 * usize::from(*packet.get(at + 1)?);
    }
    None
}

/// How a packet is taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    l3: usize,
    /// Where the part begins that is taken apart.
    begin: usize,
    end: usize,
    /// How much of that the first fragment has, and each other but the last.
    sizes: (usize, usize),
    id: u32,
    dont_fragment: bool,
    /// The place that says what comes next, in IPv6.
    next_at: Option<usize>,
}

impl Split {
    /// How the packet at `l3..end` of `frame` becomes fragments of at most `mtu` bytes; `None` if none would have any
    /// payload. IPv6's fragments get `id`, IPv4's the one that the packet has.
    pub fn new(frame: &[u8], l3: usize, end: usize, mtu: usize, id: u32) -> Option<Split> {
        let (begin, next_at, extra) = if frame.get(l3)? >> 4 == 4 {
            let ip = Ipv4Header::at(frame, l3)?;
            (l3 + ip.header_len(), None, 0)
        } else {
            // Those that every router reads are in every fragment.
            let by_routers = |kind| matches!(kind, HOP_BY_HOP | ROUTING);
            let (begin, next_at) = unfragmentable_v6(frame.get(..end)?, l3, by_routers)?;
            (begin, Some(next_at), FRAGMENT_LEN)
        };
        let room = mtu.checked_sub(begin - l3 + extra)? & !7;
        (room > 0 && begin <= end).then_some(Split {
            l3,
            begin,
            end,
            sizes: (room, room),
            id,
            dont_fragment: false,
            next_at,
        })
    }

    /// Every fragment says that it must not be fragmented further, in IPv4.
    #[must_use]
    pub fn dont_fragment(mut self, dont_fragment: bool) -> Split {
        self.dont_fragment = dont_fragment;
        self
    }

    /// As the packet came: in parts of `size`, the first with so much `growth` as the packet has had since; unless
    /// that does not fit.
    #[must_use]
    pub fn as_received(mut self, size: usize, growth: usize) -> Split {
        let first = size + growth;
        if size > 0 && size.is_multiple_of(8) && first.is_multiple_of(8) && first <= self.sizes.0 {
            self.sizes = (first, size);
        }
        self
    }

    /// How many fragments there are.
    pub fn count(&self) -> usize {
        let len = self.end - self.begin;
        let (first, rest) = self.sizes;
        1 + len.saturating_sub(first).div_ceil(rest)
    }

    /// How much is taken apart.
    pub fn payload_len(&self) -> usize {
        self.end - self.begin
    }

    /// The length of fragment `number` (from 0) with all that stands before it.
    pub fn len_of(&self, number: usize) -> usize {
        let (offset, len) = self.part(number);
        self.begin + self.extra(offset, len) + len
    }

    /// Where in the payload the part of a fragment begins, and how long it is.
    fn part(&self, number: usize) -> (usize, usize) {
        let (first, rest) = self.sizes;
        let (offset, size) = match number {
            0 => (0, first),
            n => (first + (n - 1) * rest, rest),
        };
        (offset, size.min(self.payload_len().saturating_sub(offset)))
    }

    /// The length of IPv6's header of a fragment, if this part needs one.
    fn extra(&self, offset: usize, len: usize) -> usize {
        let is_all = offset == 0 && len == self.payload_len();
        if self.next_at.is_some() && !is_all {
            FRAGMENT_LEN
        } else {
            0
        }
    }

    /// Writes fragment `number` of the packet in `frame` to the beginning of `to`; its length, or `None` if it does not
    /// fit there.
    pub fn write(&self, frame: &[u8], number: usize, to: &mut [u8]) -> Option<usize> {
        let (offset, part_len) = self.part(number);
        let from = self.begin + offset;
        let part = frame.get(from..from + part_len)?;
        let more = from + part.len() < self.end;
        let alone = offset == 0 && !more;
        let extra = self.extra(offset, part_len);
        let len = self.begin + extra + part.len();
        let out = to.get_mut(..len)?;
        out[..self.begin].copy_from_slice(&frame[..self.begin]);
        out[self.begin + extra..].copy_from_slice(part);
        if alone {
            return Some(len);
        }
        match self.next_at {
            None => {
                let header = &mut out[self.l3..self.begin];
                if offset > 0 {
                    blank_not_copied(&mut header[Ipv4Header::LEN..]);
                }
                let ip = Ipv4Header::at_mut(header, 0)?;
                ip.total_len = U16::new((len - self.l3) as u16);
                ip.set_fragment(offset, more, self.dont_fragment);
                sum_header(header)?;
            }
            Some(next_at) => {
                let header = FragmentHeader {
                    next: out[next_at],
                    reserved: 0,
                    offset_more: U16::new(offset as u16 | if more { MORE } else { 0 }),
                    id: U32::new(self.id),
                };
                out[next_at] = FRAGMENT;
                out[self.begin..self.begin + extra].copy_from_slice(header.as_bytes());
                let ip = Ipv6Header::at_mut(out, self.l3)?;
                ip.payload_len = U16::new((len - self.l3 - Ipv6Header::LEN) as u16);
            }
        }
        Some(len)
    }
}
