//! What a packet waits for at worst: the longest turns while a million conns a second begin and end, and the table's longest
//! single operations, beside so many conns that live. In CPU time of the thread, which leaves out when it does not run; what
//! an interrupt or the host of a virtual machine takes is still in it.
//!
//! So all is done several times over. What takes long because of its work takes long each time, but the machine disturbs
//! other steps each time: `each time` is the longest of what a step took at least. `alone` is the longest step in which no
//! other thread had the CPU, and `faults` are the steps that waited for memory.

use std::array;
use std::env;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use lb::{ConnState, ConnTable, Dest, Endpoint, FlowKey, LocalPorts, Protocol, Time, Timeouts};
use lb_benches::{Scenario, ThreadEvents, client, inbound, live_conns, machine, random, service};
use lb_model::{Introduction, NewConn, Replies};
use lb_wire::TcpFlags;
use rustix::time::{ClockId, clock_gettime};

/// How often all is done.
const RUNS: usize = 5;
/// Of a turn's packets half belong to conns that live, and half open one.
const NEW_PER_TURN: u32 = 32;
/// That is a million new conns a second.
const TURN: Duration = Duration::from_micros(NEW_PER_TURN as u64);
/// Of conns that come and go: as many end a second later.
const SHORT: Duration = Duration::from_secs(1);
/// Of conns that are to stay.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);
/// More than come until the first of them have ended.
const CHURN: u32 = 2_000_000;
/// Until as many end as begin.
const UNTIL_STEADY: u32 = 40_000;
const TURNS: u32 = 60_000;
const OPERATIONS: u32 = 200_000;
const MINUTE: Duration = Duration::from_secs(60);
/// Conns that a worker lets end at once.
const AT_ONCE: usize = 128;
/// Multiplications that take about as long as a turn.
const MULTIPLICATIONS: u64 = 20_000;

fn main() {
    println!("{}", machine().expect("/proc is as expected"));
    println!(
        "{:<42} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "microseconds of CPU time", "median", "99.9 %", "longest", "alone", "each time", "faults"
    );
    show(nothing);
    // As with the other benches, part of a label picks some.
    let asked = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let is_asked = |label: &str| asked.as_ref().is_none_or(|part| label.contains(part));
    for (label, live) in live_conns().filter(|(label, _)| is_asked(label)) {
        show(|| turns(label, live));
        show(|| operations(label, live));
    }
}

/// What the machine adds to what does not wait for anything.
fn nothing() -> Vec<Row> {
    let spin = || (0..MULTIPLICATIONS).fold(1_u64, |product, n| black_box(product * (2 * n + 1)));
    vec![
        Row::new("nothing", TURNS, |_| timed(|| ())),
        Row::new("multiplications", TURNS, |_| timed(spin)),
    ]
}

/// Turns of 64 packets, while a million conns begin and a million end in every second of their clock.
fn turns(label: &str, live: u32) -> Vec<Row> {
    let mut scenario = Scenario::serving(service("nat", Protocol::Udp, false, false), live + CHURN);
    scenario.set_udp_timeout(LONG);
    scenario.open(live, inbound);
    scenario.set_udp_timeout(SHORT);
    let new = (live..live + CHURN).map(inbound);
    let known = random(live).map(inbound);
    scenario.deliver(new.zip(known).flat_map(|(new, known)| [new, known]));
    let mut now = Time::ZERO;
    let mut turn = || {
        now = now + TURN;
        timed(|| scenario.worker.turn(now))
    };
    (0..UNTIL_STEADY).for_each(|_| {
        turn();
    });
    let what = format!("turns, 1 M/s begin and end beside {label}");
    let row = Row::new(what, TURNS, |_| turn());
    let counters = scenario.worker.counters();
    assert_eq!((counters.dropped(), counters.punted()), (0, 0));
    // A conn ends at most a tick of the wheel late, and some turns after that.
    let at_most = live as usize + 1_100_000;
    assert!(scenario.worker.conns().len() < at_most, "it falls behind");
    vec![row]
}

fn operations(label: &str, live: u32) -> Vec<Row> {
    let ports = LocalPorts::new(1024..=65535, 0);
    let timeouts = Timeouts::default().with(ConnState::Udp, MINUTE);
    let mut table = ConnTable::new(live + OPERATIONS, timeouts, ports);
    table.populate();
    let dest = Arc::new(Dest::new("10.1.0.11:8080".parse().expect("valid"), 1));
    let open = |table: &mut ConnTable, number| {
        let opened = table.open(conn(number, &dest), None, TcpFlags::default(), Time::ZERO);
        opened.expect("there is room")
    };
    let end = |table: &mut ConnTable, number| {
        let hit = table.find(&flow(number)).expect("it lives");
        timed(|| {
            table.retire(hit.conn);
            table.expire(Time::ZERO, 1)
        })
    };
    // Once in order, ended in none, and then again: so those that follow each other in a list lie anywhere.
    for number in 0..live {
        open(&mut table, number);
    }
    for number in shuffled(live) {
        end(&mut table, number);
    }
    for number in 0..live {
        open(&mut table, number);
    }
    let mut rows = Vec::new();
    let mut row = |what: &str, step: &mut dyn FnMut(u32) -> u64| {
        rows.push(Row::new(format!("{what} {label}"), OPERATIONS, step));
    };
    let mut hits = random(live);
    row("a lookup that finds, among", &mut |_| {
        let flow = flow(hits.next().expect("there is no last one"));
        timed(|| table.find(&flow))
    });
    row("a lookup that does not, among", &mut |number| {
        let flow = flow(live + OPERATIONS + number);
        timed(|| table.find(&flow))
    });
    row("a conn that opens beside", &mut |number| {
        timed(|| open(&mut table, live + number))
    });
    row("a conn that ends beside", &mut |number| {
        end(&mut table, number)
    });
    // All that are left, at most so many at once.
    let later = Time::ZERO + 2 * MINUTE;
    let steps = live.div_ceil(AT_ONCE as u32);
    rows.push(Row::new(
        format!("{AT_ONCE} that end of {label}"),
        steps,
        |_| timed(|| table.expire(later, AT_ONCE)),
    ));
    rows
}

/// All numbers below `limit`, in an order that has nothing to do with theirs.
fn shuffled(limit: u32) -> impl Iterator<Item = u32> {
    // A prime that divides no power of ten, so each comes once.
    let of = move |number| u64::from(number) * 2_654_435_761 % u64::from(limit);
    (0..limit).map(move |number| of(number) as u32)
}

fn flow(number: u32) -> FlowKey {
    FlowKey {
        source: client(number),
        destination: Endpoint::new(lb_benches::VIP.into(), 80),
        protocol: Protocol::Udp,
    }
}

fn conn(number: u32, dest: &Arc<Dest>) -> NewConn<'_> {
    NewConn {
        flow: flow(number),
        dest,
        rip: dest.rip(),
        local: None,
        replies: Replies::ToClient,
        introduction: Introduction::Nothing,
        mode: 0,
    }
}

/// Nanoseconds of CPU time.
fn timed<T>(what: impl FnOnce() -> T) -> u64 {
    let nanos = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let start = nanos();
    black_box(what());
    nanos() - start
}

/// What is done again and again.
struct Row {
    what: String,
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
struct Step {
    nanos: u64,
    /// Whether no other thread had the CPU meanwhile.
    alone: bool,
    faults: u64,
}

impl Row {
    /// `step` is told its number, and tells how long it took.
    fn new(what: impl Into<String>, steps: u32, mut step: impl FnMut(u32) -> u64) -> Row {
        let events = ThreadEvents::of_this_thread().expect("/proc is there");
        let so_far = || events.so_far().expect("/proc is as expected");
        let step = |number| {
            let before = so_far();
            let nanos = step(number);
            let after = so_far();
            Step {
                nanos,
                alone: after.arrivals == before.arrivals,
                faults: after.faults - before.faults,
            }
        };
        Row {
            what: what.into(),
            steps: (0..steps).map(step).collect(),
        }
    }
}

/// Does all of `work` several times over, and prints what became of it.
fn show(work: impl Fn() -> Vec<Row>) {
    let runs: [Vec<Row>; RUNS] = array::from_fn(|_| work());
    for number in 0..runs[0].len() {
        print(runs.each_ref().map(|rows| &rows[number]));
    }
}

/// One row of each run.
fn print(rows: [&Row; RUNS]) {
    let what = &rows[0].what;
    let all = || rows.into_iter().flat_map(|row| &row.steps);
    let mut nanos: Vec<u64> = all().map(|step| step.nanos).collect();
    nanos.sort_unstable();
    let alone = all().filter(|step| step.alone).map(|step| step.nanos);
    let at_least = |number: usize| rows.iter().map(|row| row.steps[number].nanos).min();
    let each_time = (0..rows[0].steps.len()).filter_map(at_least).max();
    let micros = |nanos: Option<u64>| nanos.map_or(f64::NAN, |nanos| nanos as f64 / 1e3);
    let place = |thousandth: usize| nanos.get((nanos.len() - 1) * thousandth / 1000).copied();
    println!(
        "{what:<42} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>7}",
        micros(place(500)),
        micros(place(999)),
        micros(place(1000)),
        micros(alone.max()),
        micros(each_time),
        all().filter(|step| step.faults > 0).count(),
    );
}
