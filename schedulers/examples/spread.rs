//! Draws how each scheduler spreads a skewed workload: `cargo run -p lb-schedulers --example spread -- docs/schedulers`.
//!
//! Six servers of different weights, 20,000 conns, one after another. A few clients and a few destinations make most of
//! them, and one conn in twenty lives 25 times as long as the others.

use std::collections::BinaryHeap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{cmp::Reverse, env, fs, io};

use lb_model::{Addr, Dest, Dests, Endpoint, FlowKey, Protocol, Request, Time};
use lb_schedulers::{Constructor, SchedulerOptions};

const WEIGHTS: [u32; 6] = [40, 30, 20, 20, 10, 5];
const CONNS: u32 = 20_000;
const SHORT: u32 = 40;
const LONG: u32 = 1000;

/// What a server got.
#[derive(Clone, Copy, Default)]
struct Share {
    conns: u32,
    most_active: u32,
}

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args().nth(1).unwrap_or_else(|| ".".into()));
    for (name, make) in lb_schedulers::builtin() {
        fs::write(
            folder.join(name).with_extension("svg"),
            draw(name, &spread(make)),
        )?;
    }
    Ok(())
}

fn spread(make: Constructor) -> [Share; WEIGHTS.len()] {
    let kind = make(&SchedulerOptions::default());
    let server = |(number, weight): (u8, &u32)| {
        let rip = Endpoint::new(Addr::v4([10, 1, 0, number]), 80);
        Arc::new(Dest::new(rip, *weight))
    };
    let dests = Dests::new((1..).zip(&WEIGHTS).map(server).collect(), &*kind);
    let mut scheduler = kind.worker();
    scheduler.dests_changed(&dests, Time::ZERO);
    let mut random = Random(1);
    let mut ends = BinaryHeap::new();
    let mut shares = [Share::default(); WEIGHTS.len()];
    for conn in 0..CONNS {
        while let Some(Reverse((_, at))) = ends.pop_if_before(conn) {
            let ended: &Arc<Dest> = &dests[at];
            ended.conn_ended(true);
        }
        let flow = FlowKey {
            source: Endpoint::new(
                address(0x0a64_0000 + random.skewed(2000)),
                1024 + conn as u16,
            ),
            destination: Endpoint::new(address(0xc633_6400 + random.skewed(200)), 80),
            protocol: Protocol::Tcp,
        };
        let now = Time::ZERO + Duration::from_millis(u64::from(conn) * 10);
        let Some(at) = scheduler.schedule(&Request { flow: &flow, now }, &dests) else {
            continue;
        };
        dests[at].conn_opened(true);
        let life = if random.below(20) == 0 { LONG } else { SHORT };
        ends.push(Reverse((conn + life, at)));
        shares[at].conns += 1;
        shares[at].most_active = shares[at].most_active.max(dests[at].active());
    }
    shares
}

trait PopIfBefore<T> {
    fn pop_if_before(&mut self, conn: u32) -> Option<T>;
}

impl PopIfBefore<Reverse<(u32, usize)>> for BinaryHeap<Reverse<(u32, usize)>> {
    fn pop_if_before(&mut self, conn: u32) -> Option<Reverse<(u32, usize)>> {
        self.peek().filter(|Reverse((end, _))| *end <= conn)?;
        self.pop()
    }
}

fn address(number: u32) -> Addr {
    Ipv4Addr::from(number).into()
}

/// The same numbers every time (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(limit)) as u32
    }

    /// Small numbers much more often than great ones, as by Zipf's law.
    fn skewed(&mut self, limit: u32) -> u32 {
        let uniform = f64::from(self.below(1 << 24)) / f64::from(1 << 24);
        f64::from(limit).powf(uniform) as u32 - 1
    }
}

/// Two bars for each server; a line shows what its weight asks for.
fn draw(name: &str, shares: &[Share]) -> String {
    const HEIGHT: f64 = 120.0;
    let total: u32 = shares.iter().map(|share| share.conns).sum();
    let active: u32 = shares.iter().map(|share| share.most_active).sum();
    let weight: u32 = WEIGHTS.iter().sum();
    let part = |number: u32, of: u32| f64::from(number) / f64::from(of.max(1));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 420 190\" font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"420\" height=\"190\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"16\" font-size=\"12\">{name}: {total} of {CONNS} conns, to servers of weight</text>\n\
         <rect x=\"10\" y=\"176\" width=\"9\" height=\"9\" fill=\"#36c\"/><text x=\"23\" y=\"184\">conns</text>\n\
         <rect x=\"70\" y=\"176\" width=\"9\" height=\"9\" fill=\"#c93\"/><text x=\"83\" y=\"184\">most at a time</text>\n\
         <path d=\"M170 180h14\" stroke=\"#000\" stroke-width=\"2\"/><text x=\"188\" y=\"184\">weight's share</text>\n"
    );
    for (at, (share, own)) in shares.iter().zip(WEIGHTS).enumerate() {
        let x = 15 + 67 * at;
        for (x, color, part) in [
            (x, "#36c", part(share.conns, total)),
            (x + 24, "#c93", part(share.most_active, active)),
        ] {
            let (bar, label) = (part * HEIGHT, part * 100.0);
            writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{:.1}\" width=\"22\" height=\"{bar:.1}\" fill=\"{color}\"/>\
                 <text x=\"{x}\" y=\"{:.1}\">{label:.0}%</text>",
                155.0 - bar,
                152.0 - bar,
            )
            .expect("memory");
        }
        let y = 155.0 - part(own, weight) * HEIGHT;
        writeln!(
            svg,
            "<path d=\"M{} {y:.1}h52\" stroke=\"#000\" stroke-width=\"2\"/><text x=\"{}\" y=\"168\">{own}</text>",
            x - 3,
            x + 16,
        )
        .expect("memory");
    }
    svg + "</svg>\n"
}
