//! `lbd replay`: a capture through the real engine, with its own clock and without root, NIC or kernel.

mod explain;
mod port;
mod script;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use lb::{Config, Engine, InterfaceId, Time, Worker};
use lb_capture::{Interface, Reader, Record, Writer};
use lb_ipvsadm::{NoNames, Streams};

use crate::administration::Administration;
use explain::Explanation;
use port::ReplayPort;
use script::Script;

/// The files of a replay.
pub struct Files {
    pub input: PathBuf,
    pub output: PathBuf,
    pub commands: Option<PathBuf>,
    pub explain: Option<PathBuf>,
}

/// How finely time passes where nothing happens but conns that end. The kernel's own tick is 1 to 10 ms, and its timers
/// are late by more.
const STEP: Duration = Duration::from_millis(20);

/// Replays; whether every command went well.
pub fn run(config: &Config, files: &Files) -> anyhow::Result<bool> {
    let engine = Engine::new(config).map_err(|errors| anyhow::anyhow!("{}", joined(&errors)))?;
    let hops = config
        .next_hops()
        .map_err(|errors| anyhow::anyhow!("{}", joined(&errors)))?;
    engine.set_next_hops(hops);
    let script = match &files.commands {
        Some(path) => Script::read(path)?,
        None => Script::default(),
    };
    let mut replay = Replay::new(config, engine, files)?;
    let input = File::open(&files.input)
        .with_context(|| format!("cannot read {}", files.input.display()))?;
    let size = input.metadata().map_or(0, |metadata| metadata.len());
    let progress = progress_bar(size);
    let mut reader = Reader::new(input).with_context(|| files.input.display().to_string())?;
    let mut script = script.lines().peekable();
    let mut packets = 0u64;
    loop {
        if packets.is_multiple_of(4096) {
            progress.set_position(reader.offset());
        }
        let next = reader
            .read_record()
            .with_context(|| files.input.display().to_string())?;
        let Some((record, interfaces)) = next else {
            break;
        };
        while let Some(line) = script.next_if(|line| line.time <= record.time) {
            replay.command(line)?;
        }
        replay.packet(packets, &record, interfaces)?;
        packets += 1;
    }
    for line in script {
        replay.command(line)?;
    }
    progress.finish_and_clear();
    replay.end()
}

fn joined(errors: &[lb::ConfigError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Shown on a terminal only.
fn progress_bar(bytes: u64) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(bytes);
    let style = indicatif::ProgressStyle::with_template("{wide_bar} {percent} % {eta}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

struct Replay<'a> {
    config: &'a Config,
    engine: Engine,
    worker: Worker<ReplayPort>,
    /// What the worker decided about the packet in its batch.
    decided: Arc<Mutex<Option<Explanation>>>,
    clock: Option<Time>,
    output: Writer<BufWriter<File>>,
    /// Positions in the output of the engine's interfaces.
    output_interfaces: Vec<Option<usize>>,
    explain: Option<BufWriter<File>>,
    written: u64,
    all_well: bool,
}

impl<'a> Replay<'a> {
    fn new(config: &'a Config, engine: Engine, files: &Files) -> anyhow::Result<Replay<'a>> {
        let mut worker = engine.worker(ReplayPort::new());
        let decided: Arc<Mutex<Option<Explanation>>> = Arc::default();
        let slot = Arc::clone(&decided);
        worker.observe(Box::new(move |observed| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Explanation::of(observed));
        }));
        let output = Writer::new(create(&files.output)?)
            .with_context(|| format!("cannot write {}", files.output.display()))?;
        Ok(Replay {
            config,
            engine,
            worker,
            decided,
            clock: None,
            output,
            output_interfaces: vec![None; config.engine.interfaces.len()],
            explain: files.explain.as_deref().map(create).transpose()?,
            written: 0,
            all_well: true,
        })
    }

    /// Lets time pass to `to`, a step at a time as long as there are conns whose time-outs may be over on the way.
    fn pass_time(&mut self, to: Time) -> anyhow::Result<()> {
        let mut now = self.clock.unwrap_or(to);
        while now < to {
            now = (now + STEP).min(to);
            if self.worker.conns().is_quiet() {
                now = to;
            }
            self.turn(now)?;
        }
        // A packet whose time stamp goes back is handled in its place, at the latest time seen.
        self.clock = Some(now);
        Ok(())
    }

    /// Turns until nothing more falls due.
    fn turn(&mut self, now: Time) -> anyhow::Result<()> {
        while self.worker.turn(now).expired > 0 {}
        self.write_sent(now).map(drop)
    }

    fn packet(
        &mut self,
        index: u64,
        record: &Record<'_>,
        interfaces: &[Interface],
    ) -> anyhow::Result<()> {
        let (ingress, name) = self.ingress(index, record, interfaces)?;
        self.pass_time(record.time)?;
        let now = self.clock.unwrap_or(record.time);
        if record.is_snapped() {
            bail!(
                "packet {index}: captured in part: {} of {} bytes",
                record.bytes.len(),
                record.original_len
            );
        }
        self.announce(ingress, &name)?;
        let explanation = if !self.is_for_us(ingress, record.bytes) {
            // As the XDP program does in front of a live engine.
            Explanation::left_alone()
        } else if self.worker.port_mut().deliver(ingress, record.bytes) {
            self.worker.turn(now);
            let decided = self
                .decided
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            decided.unwrap_or_else(Explanation::too_long)
        } else {
            Explanation::too_long()
        };
        let out = self.write_sent(now)?;
        if let Some(explain) = &mut self.explain {
            explanation.write(explain, index, record.time, &name, &out)?;
        }
        Ok(())
    }

    /// Whether a frame is addressed to the interface it came in on, or to a group.
    fn is_for_us(&self, ingress: InterfaceId, frame: &[u8]) -> bool {
        let name = &self.config.engine.interfaces[usize::from(ingress.0)];
        let interfaces = &self.config.network.interfaces;
        let own = interfaces.iter().find(|interface| interface.name == *name);
        own.is_none_or(|own| frame.starts_with(&own.mac.0))
            || frame.first().is_some_and(|first| first & 1 != 0)
    }

    fn ingress(
        &self,
        index: u64,
        record: &Record<'_>,
        interfaces: &[Interface],
    ) -> anyhow::Result<(InterfaceId, String)> {
        let ours = &self.config.engine.interfaces;
        let position = match &interfaces[record.interface].name {
            // A classic capture names no interface: it is the first one's.
            None => 0,
            Some(name) => ours
                .iter()
                .position(|other| other == name)
                .with_context(|| {
                    format!(
                        "packet {index}: captured on \"{name}\", allowed: {}",
                        ours.join(", ")
                    )
                })?,
        };
        let name = ours.get(position).context("engine.interfaces is empty")?;
        Ok((InterfaceId(position as u16), name.clone()))
    }

    /// Puts an interface into the output, once.
    fn announce(&mut self, id: InterfaceId, name: &str) -> anyhow::Result<usize> {
        let place = usize::from(id.0);
        if let Some(position) = self.output_interfaces[place] {
            return Ok(position);
        }
        let position = self.output.add_interface(&Interface::ethernet(name))?;
        self.output_interfaces[place] = Some(position);
        Ok(position)
    }

    /// Writes what was sent since the last time; the positions in the output of what it was.
    fn write_sent(&mut self, now: Time) -> anyhow::Result<Vec<u64>> {
        let mut positions = Vec::new();
        while let Some((egress, bytes)) = self.worker.port_mut().take_sent() {
            let name = self.config.engine.interfaces[usize::from(egress.0)].clone();
            let interface = self.announce(egress, &name)?;
            self.output
                .write(&Record::whole(interface, now, &bytes), None)?;
            positions.push(self.written);
            self.written += 1;
        }
        Ok(positions)
    }

    fn command(&mut self, line: &script::Line) -> anyhow::Result<()> {
        self.pass_time(line.time)?;
        let now = self.clock.unwrap_or(line.time);
        self.turn(now)?;
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut administration = Administration {
            engine: &self.engine,
            worker: &self.worker,
            now,
        };
        let mut streams = Streams {
            input: &mut io::empty(),
            output: &mut output,
            errors: &mut errors,
        };
        let code = lb_ipvsadm::run(&words, &mut administration, &NoNames, &mut streams)?;
        // Each edit is seen for itself, as by a kernel.
        self.turn(now)?;
        let mut stdout = io::stdout().lock();
        if code != 0 {
            self.all_well = false;
            let errors = String::from_utf8_lossy(&errors);
            let error = errors
                .lines()
                .find(|line| !line.is_empty())
                .unwrap_or("refused");
            writeln!(stdout, "@ {}: error: {error}", line.text)?;
        } else if !output.is_empty() {
            writeln!(stdout, "@ {}", line.text)?;
            stdout.write_all(&output)?;
        }
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<bool> {
        for (place, name) in self.config.engine.interfaces.iter().enumerate() {
            self.announce(InterfaceId(place as u16), name)?;
        }
        self.output.flush()?;
        if let Some(explain) = &mut self.explain {
            explain.flush()?;
        }
        Ok(self.all_well)
    }
}

fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::new(file))
}
