//! Fragments that wait for the others of their datagram.
//!
//! As IPVS, the worker puts datagrams together before it looks at them and takes them apart again as it sends them: only
//! the first fragment has ports, a mode may make it longer, and a server is spared what never becomes whole. The
//! fragments' bytes are kept, not their frames, in so many places as there are and no more.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use arrayvec::ArrayVec;
use hashbrown::HashMap;
use lb_model::{Addr, DropReason, Frame, Reassembled, Time};
use lb_wire::{Fragment, IpHeader, finish_header};

/// Datagrams that may wait at a time; more, and the one that waits longest goes.
const MAX_DATAGRAMS: usize = 256;
/// Datagrams that may be on their way through the worker beside those, waiting for a MAC for example.
const MAX_WHOLE: usize = 64;
/// All that one worker makes.
const MAX_ROOMS: usize = MAX_DATAGRAMS + MAX_WHOLE;
/// How long the fragments of a datagram may take to arrive (`net.ipv4.ipfrag_time`).
const PATIENCE: Duration = Duration::from_secs(30);
/// Parts of a datagram with gaps between them; in order there is but one.
const MAX_PARTS: usize = 32;
/// Room for what stands before the payload: Ethernet, tags, and as many IPv6 extension headers as anybody sends.
const MAX_HEADER: usize = 256;
/// What a frame's length can tell.
const ROOM: usize = 65_535;

/// Memory for datagrams lives as long as the process, so the next worker uses again what the last one gave back.
static ROOMS: Mutex<Vec<&'static mut [u8]>> = Mutex::new(Vec::new());

/// What names a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: Addr,
    destination: Addr,
    protocol: u8,
    id: u32,
}

struct Datagram {
    since: Time,
    /// The payload.
    frame: Frame,
    /// Of the first fragment, once it is here.
    header: ArrayVec<u8, MAX_HEADER>,
    l3: usize,
    /// What has come, in order and with gaps between.
    parts: ArrayVec<(usize, usize), MAX_PARTS>,
    /// Known from the last fragment.
    payload_len: Option<usize>,
    fragments: u64,
    /// The longest fragment, as an IP packet and its part of the payload.
    longest: (usize, usize),
    /// Whether all of the longest must not be fragmented further.
    dont_fragment: bool,
}

/// What becomes of a fragment.
pub enum Fate {
    /// It waits.
    Kept,
    /// It was the last that was missing, after so many others.
    Whole(Frame, Reassembled, u64),
    /// It is of no use.
    Refused(DropReason),
}

/// The datagrams that are not whole yet.
pub struct Fragments {
    datagrams: HashMap<Key, Datagram, RandomState>,
    /// In the order in which they began; those that are whole by now are still in it.
    begun: VecDeque<(Time, Key)>,
    /// Memory that is free.
    free: Vec<Frame>,
    made: usize,
    kept: u64,
    /// Fragments that are not kept any more, but were not asked for yet.
    lost: u64,
}

impl Fragments {
    pub fn new() -> Fragments {
        Fragments {
            datagrams: HashMap::default(),
            begun: VecDeque::new(),
            free: Vec::new(),
            made: 0,
            kept: 0,
            lost: 0,
        }
    }

    /// How many fragments wait.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// How many fragments were given up since the last time: the others never came, or others needed their place.
    pub fn take_lost(&mut self, now: Time) -> u64 {
        while let Some((since, key)) = self.begun.front().copied()
            && now.since(since) >= PATIENCE
        {
            self.begun.pop_front();
            self.forget_if_begun(&key, since);
        }
        mem::take(&mut self.lost)
    }

    /// Takes back the memory of a datagram that was whole.
    pub fn give_back(&mut self, frame: Frame) {
        if self.made > MAX_ROOMS {
            // It was adopted.
            self.made -= 1;
            let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
            rooms.push(frame.into_room());
        } else {
            self.free.push(frame);
        }
    }

    /// The memory of a whole datagram goes to another worker.
    pub fn give_away(&mut self) {
        self.made -= 1;
    }

    /// The memory of a whole datagram came from another worker.
    pub fn adopt(&mut self) {
        self.made += 1;
    }

    /// Puts a fragment to the others of its datagram.
    pub fn add(&mut self, fragment: &Fragment<'_>, now: Time) -> Fate {
        let (source, destination) = match fragment.ip {
            IpHeader::V4(ip) => (Addr::v4(ip.source), Addr::v4(ip.destination)),
            IpHeader::V6(ip) => (Addr::v6(ip.source), Addr::v6(ip.destination)),
        };
        let key = Key {
            source,
            destination,
            protocol: fragment.protocol,
            id: fragment.id,
        };
        if !self.datagrams.contains_key(&key) && !self.begin(key, now) {
            return Fate::Refused(DropReason::FragmentIncomplete);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return Fate::Refused(DropReason::FragmentIncomplete);
        };
        match datagram.add(fragment) {
            Added::Kept => {
                self.kept += 1;
                Fate::Kept
            }
            Added::Twice => Fate::Refused(DropReason::FragmentOverlap),
            Added::Contradicts => {
                self.forget(&key);
                Fate::Refused(DropReason::FragmentOverlap)
            }
            Added::Complete => self.finish(&key),
        }
    }

    fn begin(&mut self, key: Key, now: Time) -> bool {
        while self.datagrams.len() >= MAX_DATAGRAMS
            && let Some((since, oldest)) = self.begun.pop_front()
        {
            self.forget_if_begun(&oldest, since);
        }
        let Some(frame) = self.room() else {
            return false;
        };
        self.begun.push_back((now, key));
        self.datagrams.insert(
            key,
            Datagram {
                since: now,
                frame,
                header: ArrayVec::new(),
                l3: 0,
                parts: ArrayVec::new(),
                payload_len: None,
                fragments: 0,
                longest: (0, 0),
                dont_fragment: false,
            },
        );
        true
    }

    fn room(&mut self) -> Option<Frame> {
        if let Some(frame) = self.free.pop() {
            return Some(frame);
        }
        if self.made >= MAX_ROOMS {
            return None;
        }
        self.made += 1;
        let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rooms.pop();
        let room = room.unwrap_or_else(|| Box::leak(vec![0; ROOM].into_boxed_slice()));
        Some(Frame::new(room, 0, u32::MAX))
    }

    fn finish(&mut self, key: &Key) -> Fate {
        let Some(datagram) = self.datagrams.remove(key) else {
            return Fate::Refused(DropReason::FragmentIncomplete);
        };
        let others = datagram.fragments;
        self.kept -= others;
        match datagram.whole() {
            Ok((frame, reassembled)) => Fate::Whole(frame, reassembled, others),
            Err((frame, reason)) => {
                self.lost += others;
                self.free.push(frame);
                Fate::Refused(reason)
            }
        }
    }

    fn forget_if_begun(&mut self, key: &Key, since: Time) {
        if self.datagrams.get(key).is_some_and(|d| d.since == since) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(datagram) = self.datagrams.remove(key) {
            self.kept -= datagram.fragments;
            self.lost += datagram.fragments;
            self.free.push(datagram.frame);
        }
    }
}

impl Drop for Fragments {
    fn drop(&mut self) {
        let waiting = self.datagrams.drain().map(|(_, datagram)| datagram.frame);
        let frames = waiting.chain(self.free.drain(..));
        let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.extend(frames.map(Frame::into_room));
    }
}

enum Added {
    Kept,
    /// All of it was there.
    Twice,
    /// Part of it was there, or it has another idea of where the datagram ends: somebody is playing (RFC 5722).
    Contradicts,
    Complete,
}

impl Datagram {
    fn add(&mut self, fragment: &Fragment<'_>) -> Added {
        let (begin, end) = (fragment.offset, fragment.offset + fragment.payload.len());
        let known = self.parts.iter();
        if known.clone().any(|part| part.0 <= begin && end <= part.1) {
            return Added::Twice;
        }
        if known.clone().any(|part| begin < part.1 && part.0 < end) {
            return Added::Contradicts;
        }
        let furthest = known.map(|part| part.1).max().unwrap_or(0).max(end);
        let payload_len = match (self.payload_len, fragment.more) {
            (None, true) => None,
            (None, false) => Some(end),
            (Some(len), true) => Some(len),
            (Some(_), false) => return Added::Contradicts,
        };
        if payload_len.is_some_and(|len| furthest > len) || !self.keep(fragment, begin, end) {
            return Added::Contradicts;
        }
        self.payload_len = payload_len;
        let longest = (fragment.len(), fragment.payload.len());
        if longest >= self.longest {
            self.dont_fragment =
                fragment.dont_fragment && (longest > self.longest || self.dont_fragment);
            self.longest = longest;
        }
        let whole = payload_len.is_some_and(|len| self.parts[..] == [(0, len)]);
        if whole {
            return Added::Complete;
        }
        self.fragments += 1;
        Added::Kept
    }

    /// Copies the fragment's part; `false` if there is no place for it.
    fn keep(&mut self, fragment: &Fragment<'_>, begin: usize, end: usize) -> bool {
        if begin == 0 {
            let mut header = [0; MAX_HEADER];
            let Some(len) = fragment.write_header(&mut header) else {
                return false;
            };
            self.header = header[..len].iter().copied().collect();
            self.l3 = fragment.l3;
        }
        if !self.frame.resize(ROOM) {
            return false;
        }
        let Some(place) = self.frame.bytes_mut().get_mut(begin..end) else {
            return false;
        };
        place.copy_from_slice(fragment.payload);
        let at = self.parts.partition_point(|part| part.0 < begin);
        let joins_next = self.parts.get(at).is_some_and(|next| next.0 == end);
        let joins_last = at > 0 && self.parts[at - 1].1 == begin;
        match (joins_last, joins_next) {
            (true, true) => {
                self.parts[at - 1].1 = self.parts[at].1;
                self.parts.remove(at);
            }
            (true, false) => self.parts[at - 1].1 = end,
            (false, true) => self.parts[at].0 = begin,
            (false, false) => return self.parts.try_insert(at, (begin, end)).is_ok(),
        }
        true
    }

    /// The packet, its header in front of its payload; the memory alone if the two are longer than a packet can be, or than
    /// a frame of ours.
    fn whole(mut self) -> Result<(Frame, Reassembled), (Frame, DropReason)> {
        let payload_len = self.payload_len.unwrap_or(0);
        let (header, l3) = (&mut self.header, self.l3);
        if finish_header(header, l3, payload_len, self.dont_fragment).is_none() {
            return Err((self.frame, DropReason::Malformed));
        }
        if !self.frame.resize(header.len() + payload_len) {
            return Err((self.frame, DropReason::TooBig));
        }
        let frame = self.frame.bytes_mut();
        frame.copy_within(..payload_len, header.len());
        frame[..header.len()].copy_from_slice(header);
        let reassembled = Reassembled {
            longest: self.longest.0 as u32,
            part: self.longest.1 as u32,
            payload_len: payload_len as u32,
            dont_fragment: self.dont_fragment,
        };
        Ok((self.frame, reassembled))
    }
}
