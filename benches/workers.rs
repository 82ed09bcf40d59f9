//! Several workers: what a packet costs that is handed over, and how the rate grows with workers.
//!
//! ```text
//! cargo bench --package lb-benches --bench workers [-- SECONDS]
//! ```
//!
//! Each worker is pinned to a CPU of its own, so there are at most as many as CPUs. Everything is measured in turn, round after
//! round, and the median is shown: what else the machine does falls on all alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use lb::{Config, Counter, Engine, InterfaceId, Protocol, Time, Worker};
use lb_benches::{RecyclingPort, answer, inbound, next_hops, service};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Each worker's flows.
const FLOWS: u32 = 1_000;
/// More than are on their way between two workers, so that none waits for frames.
const FRAMES: u32 = 1024;
const ROUNDS: usize = 9;
/// Turns on one thread between two looks at the clock.
const TURNS: u32 = 2_000;

type Packets = Vec<(InterfaceId, Vec<u8>)>;

fn main() {
    let seconds = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let span = Duration::from_secs_f64(seconds.unwrap_or(0.5));
    let cpus = cpus();
    hand_over_on_one_cpu();
    if cpus.len() < 2 {
        println!("one CPU: nothing to say of several workers");
        return;
    }
    growth(&cpus, span);
}

/// A reply that comes in where its conn is, and one that is handed there, both workers on one CPU: what is done more, without
/// what it costs that the two are on different CPUs.
fn hand_over_on_one_cpu() {
    let (mut local, mut handed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut staffed = workers(2).into_iter();
        let [(mut own, replies), (mut other, _)] =
            [(); 2].map(|()| staffed.next().expect("there are two"));
        own.port_mut().deliver(replies.clone());
        other.port_mut().deliver([]);
        local.push(nanoseconds_per_packet(|| own.turn(Time::ZERO).received));
        own.port_mut().deliver([]);
        other.port_mut().deliver(replies);
        handed.push(nanoseconds_per_packet(|| {
            other.turn(Time::ZERO);
            own.turn(Time::ZERO).received
        }));
        assert_eq!(own.counters().punted() + own.counters().dropped(), 0);
        assert!(other.counters().of(Counter::HandedOver) > 0);
    }
    let (local, handed) = (median(local), median(handed));
    println!("NAT reply on its conn's queue        {local:6.1} ns");
    println!(
        "NAT reply that is handed over        {handed:6.1} ns  (both workers' work, on one CPU)"
    );
    println!(
        "on top                               {:6.1} ns",
        handed - local
    );
}

fn nanoseconds_per_packet(mut turn: impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    let packets: usize = (0..TURNS).map(|_| turn()).sum();
    start.elapsed().as_nanos() as f64 / packets as f64
}

/// Packets per second of all workers together: of conns of their own, and with every reply on the next worker's queue.
fn growth(cpus: &[usize], span: Duration) {
    let mut rates: Vec<[Vec<f64>; 2]> = cpus.iter().map(|_| Default::default()).collect();
    for _ in 0..ROUNDS {
        for (more, rates) in rates.iter_mut().enumerate() {
            for (kind, rates) in rates.iter_mut().enumerate() {
                rates.push(rate(&cpus[..=more], kind == 1, span));
            }
        }
    }
    println!("workers  NAT requests        replies on the next worker's queue");
    let mut first = None;
    for (more, rates) in rates.into_iter().enumerate() {
        let [own, next] = rates.map(median);
        let (own_first, next_first) = *first.get_or_insert((own, next));
        println!(
            "{:7}  {:6.2} Mpps {:5.2} x   {:6.2} Mpps {:5.2} x",
            more + 1,
            own / 1e6,
            own / own_first,
            next / 1e6,
            next / next_first
        );
    }
}

fn rate(cpus: &[usize], on_the_next: bool, span: Duration) -> f64 {
    let count = cpus.len();
    let (mut workers, mut replies): (Vec<_>, Vec<_>) = workers(count as u16).into_iter().unzip();
    replies.rotate_left(1);
    for (number, (worker, replies)) in workers.iter_mut().zip(replies).enumerate() {
        let packets = if on_the_next {
            replies
        } else {
            requests(number)
        };
        worker.port_mut().deliver(packets);
    }
    let over = AtomicBool::new(false);
    let sent = |worker: &Worker<RecyclingPort>| worker.counters().of(Counter::Tx);
    let start = Instant::now();
    let packets: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (workers.into_iter().zip(cpus))
            .map(|(mut worker, cpu)| {
                let over = &over;
                scope.spawn(move || {
                    pin(*cpu);
                    let before = sent(&worker);
                    while !over.load(Ordering::Relaxed) {
                        worker.turn(Time::ZERO);
                    }
                    (sent(&worker) - before, worker)
                })
            })
            .collect();
        std::thread::sleep(span);
        over.store(true, Ordering::Relaxed);
        // None ends while another may still hand it something.
        let ended: Vec<_> = threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect();
        ended.iter().map(|(packets, _)| packets).sum()
    });
    packets as f64 / start.elapsed().as_secs_f64()
}

/// One worker, and the replies to its conns.
type Staffed = (Worker<RecyclingPort>, Packets);

/// So many workers, each with its conns open. One flow in some ten thousand looks like one of another worker and goes there
/// first; then it is tried again, with other keys of the hash.
fn workers(count: u16) -> Vec<Staffed> {
    loop {
        if let Some(staffed) = staffed(count) {
            return staffed;
        }
    }
}

fn staffed(count: u16) -> Option<Vec<Staffed>> {
    let service = service("nat", Protocol::Udp, false, false);
    let mut config = Config::default().with_service(service);
    config.engine.capacity = FLOWS;
    let engine = Engine::new(&config).expect("a valid configuration");
    let hops = Arc::new(ArcSwap::from_pointee(next_hops()));
    let places = engine.places(count).into_iter().enumerate();
    let open = |(number, place)| {
        let hops = Arc::clone(&hops);
        let port = RecyclingPort::with_frames(FRAMES);
        let mut worker = engine.worker_with(port, place, hops, Box::new(|_, _| ()));
        let reply = |request| {
            worker.port_mut().deliver([request]);
            worker.turn(Time::ZERO);
            let is_here = worker.counters().of(Counter::HandedOver) == 0;
            is_here.then(|| answer(worker.port().sent_last()))
        };
        let replies = requests(number).into_iter().map(reply);
        let replies = replies.collect::<Option<Packets>>()?;
        let conns = worker.conns().len();
        assert_eq!(conns, FLOWS as usize, "every flow has its conn");
        Some((worker, replies))
    };
    places.map(open).collect()
}

/// The requests of a worker's conns.
fn requests(worker: usize) -> Packets {
    let first = worker as u32 * FLOWS;
    (first..first + FLOWS).map(inbound).collect()
}

fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("a process may ask where it runs");
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect()
}

fn pin(cpu: usize) {
    let mut own = CpuSet::new();
    own.set(cpu);
    sched_setaffinity(None, &own).expect("a CPU that is allowed");
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
