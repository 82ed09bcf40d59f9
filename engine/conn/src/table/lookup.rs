//! A packet's way to its conn.

use std::sync::Arc;

use lb_model::{Conn, ConnId, ConnState, Dest, FlowHash, FlowKey, Hit};

use super::ConnTable;
use super::key::{Guess, Key};
use crate::index::Hash;

impl ConnTable {
    /// The conn that a packet of this flow belongs to.
    #[inline]
    pub fn find(&self, flow: &FlowKey) -> Option<Hit> {
        self.find_hashed(self.hash(flow), flow)
    }

    /// What [`find_hashed`](ConnTable::find_hashed) wants to know of a flow.
    ///
    /// A batch is looked up in three rounds, so that its waits for memory overlap: hash all and
    /// [`prefetch`](ConnTable::prefetch), [`guess`](ConnTable::guess) for all, then [`confirm`](ConnTable::confirm) or
    /// [find](ConnTable::find_guessed).
    #[inline(always)]
    pub fn hash(&self, flow: &FlowKey) -> Hash {
        self.place(self.flow_hash(flow))
    }

    /// What [`place`](ConnTable::place) and [`begin`](ConnTable::begin) want to know of a flow.
    #[inline(always)]
    pub fn flow_hash(&self, flow: &FlowKey) -> FlowHash {
        FlowHash(self.hasher.hash(flow))
    }

    /// Where flows of this hash are found.
    #[inline(always)]
    pub fn place(&self, hash: FlowHash) -> Hash {
        self.index.hash(hash.0)
    }

    /// Asks for the memory in which a flow of this hash will be looked up.
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        self.index.prefetch(hash);
    }

    /// The conns that will most likely be found under these hashes, and whose memory is asked for.
    #[inline(always)]
    pub fn guess(&self, places: &mut [(Hash, Guess)]) {
        let mut all_at_home = true;
        for (hash, guess) in &mut *places {
            *guess = match self.index.guess(*hash) {
                Some(key) => self.guess_at(key),
                None => self.guess_away(*hash),
            };
            all_at_home &= *guess != Guess::ELSEWHERE;
        }
        if !all_at_home {
            self.guess_elsewhere(places);
        }
    }

    #[inline(always)]
    fn guess_at(&self, key: u32) -> Guess {
        self.entries.prefetch(Key(key).hit().conn.0);
        Guess(key)
    }

    /// For a flow that is not found where most are.
    #[inline(never)]
    fn guess_away(&self, hash: Hash) -> Guess {
        if self.index.is_all_at_home(hash) {
            return self.guess_at_another_worker(hash);
        }
        self.index.prefetch_other(hash);
        Guess::ELSEWHERE
    }

    /// For the flows whose other bucket was asked for. In a full table that is one in seventeen.
    #[inline(never)]
    fn guess_elsewhere(&self, places: &mut [(Hash, Guess)]) {
        for (hash, guess) in places {
            if *guess == Guess::ELSEWHERE {
                *guess = match self.index.guess_other(*hash) {
                    Some(key) => self.guess_at(key),
                    None => self.guess_at_another_worker(*hash),
                };
            }
        }
    }

    /// For a flow that is certainly not here: other workers may have it.
    fn guess_at_another_worker(&self, hash: Hash) -> Guess {
        if let Some(claims) = &self.claims {
            claims.prefetch(hash.whole);
        }
        Guess::NONE
    }

    /// The conn that was [guessed](ConnTable::guess), if a packet of this flow belongs to it.
    #[inline(always)]
    pub fn confirm(&self, guess: Guess, flow: &FlowKey) -> Option<Hit> {
        let Hit { conn, direction } = Key(guess.0).hit();
        // A guess at nothing is beyond all entries.
        let record = self.entries.record(conn.0)?;
        let is_it = record.is(direction, flow, || self.entries.wide(conn.0));
        is_it.then(|| Key(guess.0).hit())
    }

    /// [`find_hashed`](ConnTable::find_hashed) for who has [guessed](ConnTable::guess) since the last conn opened: a guess
    /// at nothing is certain.
    #[inline]
    pub fn find_guessed(&self, guess: Guess, hash: Hash, flow: &FlowKey) -> Option<Hit> {
        if guess == Guess::NONE {
            return None;
        }
        self.find_hashed(hash, flow)
    }

    /// Whether this place in the index is that of the flow.
    #[inline(always)]
    pub(super) fn is_of(&self, key: u32, flow: &FlowKey) -> bool {
        let Hit { conn, direction } = Key(key).hit();
        let record = &self.entries.get(conn.0).record;
        record.is(direction, flow, || self.entries.wide(conn.0))
    }

    /// The conn that a packet of this flow belongs to; `hash` is the [flow's](ConnTable::hash).
    pub fn find_hashed(&self, hash: Hash, flow: &FlowKey) -> Option<Hit> {
        let found = self.index.find(hash, |key| self.is_of(key, flow));
        found.map(|key| Key(key).hit())
    }

    /// The conn at `id`, which is valid until the next [`expire`](ConnTable::expire).
    #[inline(always)]
    pub fn conn(&self, id: ConnId) -> Conn<'_> {
        let record = &self.entries.get(id.0).record;
        Conn::new(
            record,
            self.entries.wide(id.0),
            self.dests.get(record.dest()),
        )
    }

    /// The server of the conn at `id`.
    #[inline(always)]
    pub fn dest(&self, id: ConnId) -> &Arc<Dest> {
        self.dests.get(self.entries.get(id.0).record.dest())
    }

    /// The state of the conn at `id`.
    pub fn state(&self, id: ConnId) -> ConnState {
        self.entries.get(id.0).state
    }

    /// Whether a SYN on the conn at `id` is taken for a new connection rather than for one of its own packets (kernel
    /// `is_new_conn_expected`); `reuse_mode` is `net.ipv4.vs.conn_reuse_mode`.
    pub fn expects_new(&self, id: ConnId, reuse_mode: u8) -> bool {
        let entry = self.entries.get(id.0);
        if entry.template().is_some() || reuse_mode == 0 {
            return false;
        }
        let one_way = !entry.record.replies().pass_through_us();
        match entry.state {
            ConnState::TimeWait | ConnState::Close => true,
            ConnState::FinWait => one_way && reuse_mode & 2 != 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ACK, SYN, at, conn, dest, table};
    use super::Guess;
    use lb_model::{Direction, FlowKey, Hit, Protocol};
    use lb_wire::TcpFlags;

    #[test]
    fn a_conn_is_found_from_both_directions_until_it_ends() {
        let mut table = table(4);
        let dest = dest();
        let conn = conn(4000, Protocol::Udp, &dest, true);
        let (flow, reply) = (conn.flow, conn.reply().expect("two-way"));
        let id = table
            .open(conn, None, TcpFlags::default(), at(0))
            .expect("room");
        assert_eq!(
            table.find(&flow),
            Some(Hit {
                conn: id,
                direction: Direction::Inbound
            })
        );
        assert_eq!(
            table.find(&reply),
            Some(Hit {
                conn: id,
                direction: Direction::Outbound
            })
        );
        assert_eq!(table.find(&flow.reversed()), None);
        assert_eq!(
            (dest.active(), dest.inactive()),
            (0, 1),
            "UDP conns are inactive"
        );
        assert_eq!(table.expire(at(300), usize::MAX), 0);
        assert_eq!(table.expire(at(301), usize::MAX), 1);
        assert_eq!(
            (table.find(&flow), table.find(&reply), table.len()),
            (None, None, 0)
        );
        assert_eq!((dest.active(), dest.inactive()), (0, 0));
    }

    #[test]
    fn in_a_full_table_a_guess_is_right_and_one_at_nothing_is_certain() {
        const CONNS: u16 = 8_000;
        let (mut table, dest) = (table(CONNS.into()), dest());
        let flows: Vec<FlowKey> = (0..2 * CONNS)
            .map(|cport| conn(cport, Protocol::Udp, &dest, true).flow)
            .collect();
        let (known, unknown) = flows.split_at(CONNS.into());
        for cport in 0..CONNS {
            let conn = conn(cport, Protocol::Udp, &dest, true);
            let opened = table.open(conn, None, TcpFlags::default(), at(0));
            opened.expect("room");
        }
        let away = |flow: &&FlowKey| !table.index.is_all_at_home(table.hash(flow));
        assert!(known.iter().filter(away).count() > 1_000, "it is full");
        let guessed = |flows: &[FlowKey]| {
            let hashes = flows.iter().map(|flow| (table.hash(flow), Guess::NONE));
            let mut places: Vec<_> = hashes.collect();
            table.guess(&mut places);
            places
        };
        let right = guessed(known).into_iter().zip(known).filter(|place| {
            let ((_, guess), flow) = place;
            table.confirm(*guess, flow).is_some()
        });
        // Of the keys in a bucket another one has the same 16 bits once in ten thousand times.
        let right = right.count();
        assert!(right > usize::from(CONNS) - 40, "{right} of {CONNS}");
        let places = guessed(unknown);
        let at_nothing = places.iter().filter(|(_, guess)| *guess == Guess::NONE);
        let at_nothing = at_nothing.count();
        assert!(at_nothing > usize::from(CONNS) - 40, "{at_nothing}");
        for ((hash, guess), flow) in places.into_iter().zip(unknown) {
            assert_eq!(table.find_guessed(guess, hash, flow), None);
        }
    }

    #[test]
    fn a_syn_is_expected_as_the_kernel_expects_it() {
        let (mut table, dest) = (table(2), dest());
        let fin = TcpFlags::FIN;
        for (two_way, expected) in [
            (true, [false, true, true, true]),
            (false, [false, false, true, true]),
        ] {
            let mut seen = Vec::new();
            let conn = conn(1, Protocol::Tcp, &dest, two_way);
            let id = table.open(conn, None, SYN, at(0)).expect("room");
            seen.push(table.expects_new(id, 1));
            table.packet(
                Hit {
                    conn: id,
                    direction: Direction::Inbound,
                },
                ACK,
                at(0),
            );
            table.packet(
                Hit {
                    conn: id,
                    direction: Direction::Inbound,
                },
                fin,
                at(0),
            );
            if two_way {
                table.packet(
                    Hit {
                        conn: id,
                        direction: Direction::Outbound,
                    },
                    fin,
                    at(0),
                );
            }
            seen.extend([table.expects_new(id, 1), table.expects_new(id, 3)]);
            assert!(!table.expects_new(id, 0));
            table.packet(
                Hit {
                    conn: id,
                    direction: Direction::Inbound,
                },
                TcpFlags::RST,
                at(0),
            );
            seen.push(table.expects_new(id, 1));
            assert_eq!(seen, expected, "two-way: {two_way}");
            table.retire(id);
        }
    }
}
