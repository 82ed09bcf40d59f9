//! The conns as listings show them.

use std::ops::Range;
use std::time::Duration;

use lb_model::{Conn, ConnId, ConnState, Time};

use super::{ConnTable, SPARE};
use crate::entry::Life;

/// A conn as listings show it.
pub struct ConnView<'a> {
    /// The conn.
    pub conn: Conn<'a>,
    /// Its state.
    pub state: ConnState,
    /// How long it lives on without a packet.
    pub expires_in: Duration,
}

impl ConnTable {
    /// Every conn that can be found, in no particular order.
    pub fn iter(&self, now: Time) -> impl Iterator<Item = ConnView<'_>> {
        self.slice(0..self.places(), now)
    }

    /// How many places there are for conns.
    pub fn places(&self) -> u32 {
        self.capacity + SPARE
    }

    /// The conns that can be found in these [`places`](ConnTable::places). A conn keeps its place, so who goes through all
    /// places meets every conn that was there all the while, once.
    pub fn slice(&self, places: Range<u32>, now: Time) -> impl Iterator<Item = ConnView<'_>> {
        let found = |id: &u32| self.entries.get(*id).life == Life::Found;
        let used = self.entries.used_from(places.start);
        used.take_while(move |id| *id < places.end)
            .filter(found)
            .map(move |id| self.view(ConnId(id), now))
    }

    /// The conn at `id` as listings show it. Panics as [`conn`](ConnTable::conn) does.
    pub fn view(&self, id: ConnId, now: Time) -> ConnView<'_> {
        let entry = self.entries.get(id.0);
        ConnView {
            conn: self.conn(id),
            state: entry.state,
            expires_in: entry.expires_in(now),
        }
    }
}
