//! No operation does more in a large table than in a small one: counted in lines of memory that it looks at, at full load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb_model::{Addr, Dest, Direction, FlowKey, Hit, NewConn, Protocol, Time};
use lb_wire::TcpFlags;

use super::testing::{ACK, SYN, at, conn, dest, inbound, table};
use super::{ConnTable, Refused};
use crate::{Asked, TemplateKey, looks};

/// Conns that may end at once.
const LIMIT: usize = 128;

/// What an operation looked at, in all its repetitions.
#[derive(Default, Debug)]
struct Looks {
    most: u32,
    sum: u64,
    times: u32,
}

#[derive(Default)]
struct Work(BTreeMap<&'static str, Looks>);

impl Work {
    fn count<T>(&mut self, operation: &'static str, work: impl FnOnce() -> T) -> T {
        let (made, count) = looks::of(work);
        let looks = self.0.entry(operation).or_default();
        looks.most = looks.most.max(count);
        looks.sum += u64::from(count);
        looks.times += 1;
        made
    }

    /// Lets all end that is over, a turn's share at a time.
    fn expire(&mut self, operation: &'static str, table: &mut ConnTable, now: Time) {
        while {
            self.count(operation, || table.expire(now, LIMIT));
            table.is_behind()
        } {}
    }
}

/// A new conn, one of many clients'.
fn new(number: u32, protocol: Protocol, dest: &Arc<Dest>) -> NewConn<'_> {
    let [.., high, middle, low] = number.to_be_bytes();
    let mut conn = conn(1024, protocol, dest, true);
    conn.flow.source.addr = Addr::v4([10, high, middle, low]);
    conn
}

fn flow(number: u32, protocol: Protocol) -> FlowKey {
    new(number, protocol, &dest()).flow
}

/// What a table for so many conns does, from empty to full and back.
fn work(conns: u32) -> Work {
    let mut work = Work::default();
    let (mut table, dest) = (table(conns), dest());
    let none = TcpFlags::default();
    // Datagrams, which all end at once.
    for number in 0..conns {
        let opened = work.count("open", || {
            table.open(new(number, Protocol::Udp, &dest), None, none, at(0))
        });
        opened.expect("room");
    }
    let one_more = new(conns, Protocol::Udp, &dest);
    let refused = work.count("refuse", || table.open(one_more, None, none, at(0)));
    assert_eq!(refused, Err(Refused::Full));
    for number in 0..conns {
        let known = flow(number, Protocol::Udp);
        let hit = work.count("find", || table.find(&known)).expect("it lives");
        work.count("packet", || table.packet(hit, none, at(1)));
        let unknown = flow(conns + number, Protocol::Udp);
        assert!(work.count("miss", || table.find(&unknown)).is_none());
    }
    // Their timers stand a second too early: they are set anew, all of them, and fire then.
    work.expire("set anew", &mut table, at(301));
    assert_eq!(table.len(), conns as usize);
    work.expire("end all", &mut table, at(303));
    assert_eq!(table.len(), 0);
    // Half-open conns, twice as many as fit; then each other one goes on, and is reset.
    for number in 0..2 * conns {
        let opened = work.count("evict", || {
            table.open(new(number, Protocol::Tcp, &dest), None, SYN, at(304))
        });
        opened.expect("in place of another");
        work.count("vacate", || table.expire(at(304), LIMIT));
    }
    for number in (conns..2 * conns).step_by(2) {
        let known = flow(number, Protocol::Tcp);
        let hit = table.find(&known).expect("it lives");
        work.count("establish", || table.packet(hit, ACK, at(305)));
        let reply = Hit {
            direction: Direction::Outbound,
            ..hit
        };
        work.count("reset", || table.packet(reply, TcpFlags::RST, at(305)));
    }
    work.expire("end half", &mut table, at(316));
    assert_eq!(table.len(), conns as usize / 2);
    // The others are established, and their server goes.
    for number in (conns + 1..2 * conns).step_by(2) {
        let hit = table.find(&flow(number, Protocol::Tcp));
        table.packet(hit.expect("it lives"), ACK, at(316));
    }
    dest.removed();
    table.retire_of_removed_dests();
    work.expire("server goes", &mut table, at(316));
    assert_eq!(table.len(), 0);
    clients(conns, &mut table, &mut work);
    work
}

/// Of clients that are kept at their servers.
fn clients(count: u32, table: &mut ConnTable, work: &mut Work) {
    let dest = dest();
    for number in 0..count {
        let key = TemplateKey {
            client: Addr::v4(number.to_be_bytes()),
            asked: Asked::Mark(1),
        };
        let templates = table.templates_mut();
        assert!(work.count("client", || templates.find(&key)).is_none());
        let opened = work.count("new client", || {
            templates.open(key, &dest, |_| true, Duration::from_secs(60), at(400))
        });
        let new = new(number, Protocol::Udp, &dest);
        let opened = table.open(new, opened, TcpFlags::default(), at(400));
        table.packet(inbound(opened.expect("room")), TcpFlags::default(), at(400));
    }
    // They are held, and end when their conns have.
    work.expire("hold clients", table, at(461));
    work.expire("conns of clients end", table, at(701));
    work.expire("clients end", table, at(800));
    assert!(table.is_quiet());
}

#[test]
fn no_operation_does_more_in_a_larger_table() {
    let (small, large) = (work(1 << 8), work(1 << 14));
    for (operation, looks) in &large.0 {
        let most = match *operation {
            "find" | "miss" | "refuse" | "client" => 12,
            "packet" | "establish" | "reset" => 24,
            // The index says how many it looks at to make room for a key, and how seldom.
            "open" | "evict" | "new client" => 2 * 222 + 32,
            "vacate" => 24,
            // What ends or is set anew, and what is moved in the wheel.
            _ => 24 * LIMIT as u32,
        };
        assert!(looks.most <= most, "{operation}: {looks:?}");
        let average = |looks: &Looks| looks.sum as f64 / f64::from(looks.times);
        let (before, after) = (average(&small.0[operation]), average(looks));
        // Where there is little to do in all, less is done at once.
        let is_shared_out = most > 1000;
        assert!(
            is_shared_out || after <= 1.25 * before + 1.0,
            "{operation}: {before} and {after} looks"
        );
    }
}
