//! `instructions`: how many instructions a packet costs, in every mode and address family, for known flows and new ones.
//!
//! Runs itself under valgrind's callgrind, once for each case. What else the machine does changes nothing about the
//! figures, and the same program gives the same ones again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use lb::{Batch, Port, Time};
use lb_benches::{Case, PACKETS, Scenario};

/// The function that callgrind counts in, and what it calls.
const COUNTED: &str = "*instructions::counted*";

/// Instructions per packet, by callgrind.
#[derive(Parser)]
#[command(name = "instructions")]
struct Arguments {
    /// Measures the cases with this in their names, and all without it.
    filter: Option<String>,
    /// Keeps callgrind's output here: callgrind_annotate DIR/CASE tells where the instructions went.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// What callgrind runs: one case.
    #[arg(long, hide = true)]
    run: Option<String>,
    /// And of that, just what the port does.
    #[arg(long, hide = true)]
    port: bool,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A worker's whole turn.
    Turn,
    /// What the port, which is in memory, takes of that.
    Port,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(name) = &arguments.run {
        let part = if arguments.port {
            Part::Port
        } else {
            Part::Turn
        };
        let case = Case::all().find(|case| case.to_string() == *name);
        let case = case.context("no such case")?;
        run(&case, part, case.scenario());
        return Ok(());
    }
    let temporary = tempfile::tempdir()?;
    let kept = arguments.keep.as_deref();
    if let Some(kept) = kept {
        fs::create_dir_all(kept).with_context(|| format!("cannot make {}", kept.display()))?;
    }
    let directory = kept.unwrap_or(temporary.path());
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let mut cases = Case::all()
        .filter(|case| case.to_string().contains(filter))
        .peekable();
    ensure!(cases.peek().is_some(), "no case has '{filter}' in its name");
    println!(
        "{:<24} {:>9} {:>9} {:>9}",
        "instructions per packet", "all", "port", "engine"
    );
    for case in cases {
        let case = case.to_string();
        let port = per_packet(&case, Part::Port, directory)?;
        let all = per_packet(&case, Part::Turn, directory)?;
        let engine = all.saturating_sub(port);
        println!("{case:<24} {all:>9} {port:>9} {engine:>9}");
    }
    Ok(())
}

/// Rounded.
fn per_packet(case: &str, part: Part, directory: &Path) -> anyhow::Result<u64> {
    let output = directory.join(case);
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(env::current_exe()?)
        .args(["--run", case])
        .args((part == Part::Port).then_some("--port"))
        .stdout(Stdio::null())
        .status()
        .context("cannot run valgrind")?;
    ensure!(status.success(), "{case}: valgrind says {status}");
    let profile = fs::read_to_string(&output)?;
    let total = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    match total.and_then(|total| total.trim().parse::<u64>().ok()) {
        None | Some(0) => bail!("{case}: callgrind did not meet {COUNTED}"),
        Some(total) => Ok((total + PACKETS / 2) / PACKETS),
    }
}

/// Counts nothing by itself: what is to be counted happens in [`counted`].
fn run(case: &Case, part: Part, mut scenario: Scenario) {
    let known = scenario.worker.conns().len();
    match part {
        Part::Turn => counted(|now| assert_eq!(scenario.worker.turn(now).received, 64)),
        Part::Port => {
            let (port, mut batch) = (scenario.worker.port_mut(), Batch::new());
            counted(|_| {
                port.receive(&mut batch);
                for packet in batch.drain() {
                    assert!(port.transmit(packet.ingress, packet.frame).is_ok());
                }
            });
        }
    }
    let counters = scenario.worker.counters();
    assert_eq!((counters.dropped(), counters.punted()), (0, 0));
    let opened = match part {
        Part::Turn if case.opens() => PACKETS as usize,
        _ => 0,
    };
    assert_eq!(scenario.worker.conns().len(), known + opened);
}

/// What callgrind counts.
#[inline(never)]
fn counted(turn: impl FnMut(Time)) {
    Case::times().for_each(turn);
}
