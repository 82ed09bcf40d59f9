//! `live listing`: what packets notice of all conns being listed meanwhile.
//!
//! Worker, control socket and whoever asks share one CPU, the worst that can be: what a listing takes there is taken from the
//! worker. The generator has the other one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, value_parser};
use lb_benches::figures::{aligned, grouped};
use lb_benches::{built_program, machine};
use lb_bpf::{Latencies, Sink};
use lb_testkit::netns::Scratch;

use crate::arena::{Arena, Family};
use crate::contestant::{BALANCER_CPU, Contestant, Running};
use crate::generate::Load;
use crate::lbd::METRICS;
use crate::measure::{no_strays, sink, warm_up};

/// Packets that nobody has seen after this time are lost.
const ON_THEIR_WAY: Duration = Duration::from_millis(300);

/// What is listed, and beside what.
#[derive(Args)]
pub struct Listing {
    /// Conns.
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..))]
    flows: u32,
    /// Packets per second meanwhile.
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds without a listing, to compare with.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// lbd's mode.
    #[arg(long, default_value = "nat")]
    of: Contestant,
}

/// Ways to ask for all conns.
const COMMANDS: [&str; 4] = [
    "conns",
    "conns --json",
    "conns --client 203.0.113.1 --count",
    "ipvsadm -Lnc",
];

/// A while under packets.
struct Row {
    name: String,
    took: Duration,
    /// That were printed.
    lines: u64,
    packets: u64,
    lost: u64,
    latencies: Latencies,
    turns: Turns,
}

/// Prints a line for each way to list.
pub fn watch(arguments: &Listing) -> anyhow::Result<()> {
    let arena = Arena::new()?;
    let sink = sink(&arena, &arguments.of, true)?;
    let running = arguments.of.start(&arena, "udp", arguments.flows)?;
    let load = |rate| Load {
        v6: arguments.of.family() == Family::V6,
        flows: arguments.flows,
        rate,
        stamped: true,
    };
    let generator = load(None).start(&arena)?;
    warm_up(&sink, arguments.flows, &generator, &running)?;
    drop(generator);

    let scratch = Scratch::new()?;
    let socket = running.control_socket().context("that is not lbd")?;
    let lbctl = built_program("lbctl")?;
    let list = |line: &str| {
        let printed = scratch.path().join("conns");
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &BALANCER_CPU.to_string()]);
        command.arg(&lbctl).args(line.split_whitespace());
        command.env("LBD_SOCKET", &socket);
        command.stdout(File::create(&printed)?);
        let status = command.status().context("taskset")?;
        ensure!(status.success(), "lbctl {line} ended with {status}");
        Ok(printed)
    };
    let nothing = || {
        thread::sleep(Duration::from_secs(arguments.seconds.into()));
        Ok(())
    };
    let load = load(Some(arguments.rate));
    let under = Under {
        arena: &arena,
        sink: &sink,
        load,
        running: &running,
    };
    let mut rows = vec![under.packets("nothing", nothing)?];
    for line in COMMANDS {
        let mut row = under.packets(line, || list(line).map(drop))?;
        row.lines = lines(&File::open(scratch.path().join("conns"))?)?;
        rows.push(row);
    }
    running.end()?;
    no_strays(&sink, &arguments.of)?;
    println!("machine  {}", machine()?);
    println!(
        "listing  {}, {} flows, {} packets/s; latencies one way, in microseconds\n",
        arguments.of, arguments.flows, arguments.rate
    );
    println!("{}", render(&rows)?);
    Ok(())
}

/// What packets are sent through.
struct Under<'a> {
    arena: &'a Arena,
    sink: &'a Sink,
    load: Load,
    running: &'a Running,
}

impl Under<'_> {
    /// What packets noticed of `meanwhile`.
    fn packets(
        &self,
        name: &str,
        meanwhile: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Row> {
        eprintln!("listing: {name}");
        let (offered, arrived) = (self.arena.offered()?, self.sink.arrivals()?);
        let generator = self.load.start(self.arena)?;
        // So few that the generator's own beginning is over.
        warm_up(self.sink, 1, &generator, self.running)?;
        let (latencies, turns) = (self.sink.latencies()?, Turns::of(self.arena)?);
        let start = Instant::now();
        meanwhile()?;
        let took = start.elapsed();
        let latencies = self.sink.latencies()?.since(&latencies);
        let turns = Turns::of(self.arena)?.since(&turns);
        drop(generator);
        thread::sleep(ON_THEIR_WAY);
        let packets = self.arena.offered()? - offered;
        let arrived = self.sink.arrivals()?.expected - arrived.expected;
        Ok(Row {
            name: name.to_owned(),
            took,
            lines: 0,
            packets,
            lost: packets.saturating_sub(arrived),
            latencies,
            turns,
        })
    }
}

fn lines(mut file: impl Read) -> io::Result<u64> {
    let mut lines = 0;
    let mut reader = BufReader::with_capacity(1 << 20, &mut file);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = buffer.len();
        reader.consume(length);
    }
}

/// Turns of all workers that received something: their bounds in seconds, and how many were no longer.
struct Turns(Vec<(f64, u64)>);

impl Turns {
    /// Of lbd in this arena so far.
    fn of(arena: &Arena) -> anyhow::Result<Turns> {
        let page = arena.balancer.run(|| {
            let mut stream = TcpStream::connect(METRICS)?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            io::Result::Ok(page)
        })?;
        Turns::read(&page).context("no turns among the metrics")
    }

    fn read(page: &str) -> Option<Turns> {
        let mut turns = Turns(Vec::new());
        for line in page.lines() {
            let Some(series) = line.strip_prefix("lbd_worker_turn_seconds_bucket{") else {
                continue;
            };
            let (_, bound) = series.split_once("le=\"")?;
            let bound = bound.split('"').next()?.parse().ok()?;
            let count: u64 = series.rsplit(' ').next()?.parse().ok()?;
            match turns.0.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => turns.0.push((bound, count)),
            }
        }
        (!turns.0.is_empty()).then_some(turns)
    }

    fn since(&self, earlier: &Turns) -> Turns {
        let pairs = self.0.iter().zip(&earlier.0);
        Turns(
            pairs
                .map(|((bound, now), (_, before))| (*bound, now - before))
                .collect(),
        )
    }

    fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, all)| *all)
    }

    /// The bound that none was longer than.
    fn longest(&self) -> String {
        let all = self.count();
        let bound = self.0.iter().find(|(_, count)| *count == all);
        match bound {
            Some((bound, _)) if bound.is_finite() => format!("up to {:.0} us", bound * 1e6),
            _ => "beyond".to_owned(),
        }
    }
}

fn render(rows: &[Row]) -> anyhow::Result<String> {
    let header = [
        "",
        "seconds",
        "lines",
        "packets",
        "lost",
        "p50",
        "p99",
        "p99.9",
        "longest",
        "turns",
        "longest turn",
    ];
    let mut table = vec![header.map(str::to_owned)];
    for row in rows {
        let micros = |percent| {
            let time = row.latencies.percentile(percent);
            let time = time.context("no packet has arrived")?;
            anyhow::Ok(format!("{:.0}", time.as_nanos() as f64 / 1000.0))
        };
        table.push([
            row.name.clone(),
            format!("{:.2}", row.took.as_secs_f64()),
            grouped(row.lines as f64),
            grouped(row.packets as f64),
            grouped(row.lost as f64),
            micros(50.0)?,
            micros(99.0)?,
            micros(99.9)?,
            micros(100.0)?,
            grouped(row.turns.count() as f64),
            row.turns.longest(),
        ]);
    }
    Ok(aligned(&table))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE lbd_worker_turn_seconds histogram\n\
        lbd_worker_turn_seconds_sum{worker=\"0\"} 0.5\n\
        lbd_worker_turn_seconds_bucket{le=\"0.00001\",worker=\"0\"} 10\n\
        lbd_worker_turn_seconds_bucket{le=\"0.001\",worker=\"0\"} 12\n\
        lbd_worker_turn_seconds_bucket{le=\"+Inf\",worker=\"0\"} 12\n\
        lbd_worker_turn_seconds_bucket{le=\"0.00001\",worker=\"1\"} 1\n\
        lbd_worker_turn_seconds_bucket{le=\"0.001\",worker=\"1\"} 1\n\
        lbd_worker_turn_seconds_bucket{le=\"+Inf\",worker=\"1\"} 2\n";

    #[test]
    fn turns_are_told_by_the_bound_that_none_was_longer_than() {
        let none = Turns::read(&PAGE.replace(" 10", " 0").replace(" 12", " 0")).expect("turns");
        let turns = Turns::read(PAGE).expect("turns");
        assert_eq!((turns.count(), turns.longest()), (14, "beyond".to_owned()));
        let of_first = turns.since(&none);
        assert_eq!(
            (of_first.count(), of_first.longest()),
            (12, "up to 1000 us".to_owned())
        );
        assert!(Turns::read("lbd_build_info 1\n").is_none());
    }

    #[test]
    fn lines_are_counted() {
        assert_eq!(lines(&b"a\nb\n"[..]).expect("readable"), 2);
    }
}
