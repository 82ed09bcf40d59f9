//! Connection tables as one would write them with what hashbrown offers, for ours to be compared with.
//!
//! Both do less than ours and so have it easier: a conn's time-out begins when it is opened and never again, so that a
//! queue for each length is all it takes to find those that are over; there are no states, and nobody is evicted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::{HashMap, HashTable};
use lb::{ConnState, Dest, Endpoint, FlowKey, Introduction, Replies, Time};
use lb_model::NewConn;

/// What is known of a conn beside the flow it is found by.
pub struct Entry {
    /// The other flow it is found by.
    pub reply: Option<FlowKey>,
    /// Its server.
    pub dest: Arc<Dest>,
    /// Where on the server its packets go.
    pub rip: Endpoint,
    /// The source that the server sees in place of the client.
    pub local: Option<Endpoint>,
    /// Which way its replies take.
    pub replies: Replies,
    /// How its server is told of its client.
    pub introduction: Introduction,
    /// The mode it was opened with.
    pub mode: u8,
    /// Its TCP state.
    pub state: ConnState,
    /// When it ends.
    pub ends: Time,
}

impl Entry {
    fn new(conn: NewConn<'_>, ends: Time) -> Entry {
        conn.dest.conn_opened(false);
        Entry {
            reply: conn.reply(),
            dest: Arc::clone(conn.dest),
            rip: conn.rip,
            local: conn.local,
            replies: conn.replies,
            introduction: conn.introduction,
            mode: conn.mode,
            state: ConnState::Udp,
            ends,
        }
    }
}

/// The ends to come, in their order: a queue for each time-out.
struct Ends<T> {
    queues: Vec<(Duration, VecDeque<(Time, T)>)>,
}

impl<T> Ends<T> {
    fn new() -> Ends<T> {
        Ends { queues: Vec::new() }
    }

    fn set_timeout(&mut self, timeout: Duration) {
        // The one in use is the last.
        match self.queues.iter().position(|(other, _)| *other == timeout) {
            Some(there) => {
                let last = self.queues.len() - 1;
                self.queues.swap(there, last);
            }
            None => self.queues.push((timeout, VecDeque::new())),
        }
    }

    fn push(&mut self, now: Time, what: T) -> Time {
        let Some((timeout, queue)) = self.queues.last_mut() else {
            return now;
        };
        let end = now + *timeout;
        queue.push_back((end, what));
        end
    }

    fn pop(&mut self, now: Time) -> Option<T> {
        let over = |(end, _): &mut (Time, T)| *end <= now;
        let queues = self.queues.iter_mut();
        let (_, what) = queues
            .filter_map(|(_, queue)| queue.pop_front_if(over))
            .next()?;
        Some(what)
    }
}

/// Entries in a map, under the flow of their inbound packets; a second map leads there from that of the outbound ones.
pub struct MapTable {
    entries: HashMap<FlowKey, Entry, RandomState>,
    replies: HashMap<FlowKey, FlowKey, RandomState>,
    ends: Ends<FlowKey>,
}

impl MapTable {
    /// A table with room for so many conns.
    pub fn new(capacity: u32) -> MapTable {
        MapTable {
            entries: HashMap::with_capacity_and_hasher(capacity as usize, RandomState::new()),
            replies: HashMap::with_hasher(RandomState::new()),
            ends: Ends::new(),
        }
    }

    /// The time-out of conns that are opened from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.ends.set_timeout(timeout);
    }

    /// Opens a conn, which is not there yet.
    pub fn open(&mut self, conn: NewConn<'_>, now: Time) {
        let flow = conn.flow;
        let ends = self.ends.push(now, flow);
        if let Some(reply) = conn.reply() {
            self.replies.insert(reply, flow);
        }
        self.entries.insert(flow, Entry::new(conn, ends));
    }

    /// The conn that an inbound packet belongs to.
    pub fn find(&self, flow: &FlowKey) -> Option<&Entry> {
        self.entries.get(flow)
    }

    /// Ends conns whose time is over, and says how many.
    pub fn expire(&mut self, now: Time) -> usize {
        let mut ended = 0;
        while let Some(flow) = self.ends.pop(now) {
            if let Some(entry) = self.entries.remove(&flow) {
                entry.dest.conn_ended(false);
                if let Some(reply) = entry.reply {
                    self.replies.remove(&reply);
                }
            }
            ended += 1;
        }
        ended
    }
}

/// Entries in a slab; an index of 32-bit places leads there from both flows.
pub struct SlabTable {
    index: HashTable<u32>,
    hasher: RandomState,
    slab: Vec<Option<(FlowKey, Entry)>>,
    free: Vec<u32>,
    ends: Ends<u32>,
}

/// Set in a place: it was found by the flow of outbound packets.
const OUTBOUND: u32 = 1 << 31;

impl SlabTable {
    /// A table with room for so many conns.
    pub fn new(capacity: u32) -> SlabTable {
        SlabTable {
            index: HashTable::with_capacity(2 * capacity as usize),
            hasher: RandomState::new(),
            slab: Vec::with_capacity(capacity as usize),
            free: Vec::new(),
            ends: Ends::new(),
        }
    }

    /// The time-out of conns that are opened from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.ends.set_timeout(timeout);
    }

    /// Opens a conn, which is not there yet.
    pub fn open(&mut self, conn: NewConn<'_>, now: Time) {
        let (flow, reply) = (conn.flow, conn.reply());
        let place = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            self.slab.len() as u32 - 1
        });
        let ends = self.ends.push(now, place);
        self.slab[place as usize] = Some((flow, Entry::new(conn, ends)));
        self.insert(flow, place);
        if let Some(reply) = reply {
            self.insert(reply, place | OUTBOUND);
        }
    }

    fn insert(&mut self, flow: FlowKey, key: u32) {
        let SlabTable {
            index,
            hasher,
            slab,
            ..
        } = self;
        index.insert_unique(hasher.hash_one(flow), key, |key| {
            let flow = flow_of(slab, *key).expect("what is in the index is in the slab");
            hasher.hash_one(flow)
        });
    }

    fn remove(&mut self, flow: FlowKey, key: u32) {
        let found = self
            .index
            .find_entry(self.hasher.hash_one(flow), |other| *other == key);
        if let Ok(found) = found {
            found.remove();
        }
    }

    /// The conn that a packet belongs to, in either direction.
    pub fn find(&self, flow: &FlowKey) -> Option<&Entry> {
        let is_it = |key: &u32| flow_of(&self.slab, *key) == Some(*flow);
        let key = *self.index.find(self.hasher.hash_one(flow), is_it)?;
        let (_, entry) = self.slab[(key & !OUTBOUND) as usize].as_ref()?;
        Some(entry)
    }

    /// Ends conns whose time is over, and says how many.
    pub fn expire(&mut self, now: Time) -> usize {
        let mut ended = 0;
        while let Some(place) = self.ends.pop(now) {
            if let Some((flow, entry)) = self.slab[place as usize].take() {
                entry.dest.conn_ended(false);
                self.remove(flow, place);
                if let Some(reply) = entry.reply {
                    self.remove(reply, place | OUTBOUND);
                }
                self.free.push(place);
            }
            ended += 1;
        }
        ended
    }
}

fn flow_of(slab: &[Option<(FlowKey, Entry)>], key: u32) -> Option<FlowKey> {
    let (flow, entry) = slab[(key & !OUTBOUND) as usize].as_ref()?;
    match key & OUTBOUND {
        0 => Some(*flow),
        _ => entry.reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb::{Addr, Protocol};

    fn conn(port: u16, dest: &Arc<Dest>) -> NewConn<'_> {
        NewConn {
            flow: FlowKey {
                source: Endpoint::new(Addr::v4([192, 0, 2, 1]), port),
                destination: "10.0.0.100:80".parse().expect("valid"),
                protocol: Protocol::Udp,
            },
            dest,
            rip: dest.rip(),
            local: None,
            replies: Replies::ToClient,
            introduction: Introduction::Nothing,
            mode: 0,
        }
    }

    #[test]
    fn a_conn_is_found_until_its_end_in_either_table() {
        let dest = Arc::new(Dest::new("10.1.0.11:80".parse().expect("valid"), 1));
        let (mut map, mut slab) = (MapTable::new(4), SlabTable::new(4));
        let stays: Vec<NewConn<'_>> = (1000..2000).map(|port| conn(port, &dest)).collect();
        for seconds in [3600, 1] {
            map.set_timeout(Duration::from_secs(seconds));
            slab.set_timeout(Duration::from_secs(seconds));
            for conn in stays.iter().filter(|_| seconds > 1) {
                map.open(*conn, Time::ZERO);
                slab.open(*conn, Time::ZERO);
            }
        }
        for port in 1..=20 {
            let now = Time::ZERO + Duration::from_secs(port.into());
            map.open(conn(port, &dest), now);
            slab.open(conn(port, &dest), now);
            let flow = conn(port, &dest).flow;
            let reply = conn(port, &dest).reply().expect("through us");
            assert!(map.find(&flow).is_some() && slab.find(&flow).is_some());
            assert!(slab.find(&reply).is_some());
            assert!(map.find(&reply).is_none() && map.replies.contains_key(&reply));
            let end = now + Duration::from_secs(1);
            assert_eq!((map.expire(end), slab.expire(end)), (1, 1));
            assert!(map.find(&flow).is_none() && slab.find(&flow).is_none());
            assert!(slab.find(&reply).is_none() && !map.replies.contains_key(&reply));
        }
        for conn in &stays {
            assert!(map.find(&conn.flow).is_some() && slab.find(&conn.flow).is_some());
        }
        let sizes = (slab.slab.len(), slab.index.len(), dest.total());
        assert_eq!(sizes, (1001, 2000, 2000));
    }
}
