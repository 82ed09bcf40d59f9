//! `lbd replay`: a capture through the real engine, with its own clock and without root, NIC or kernel.

mod explain;
#[cfg(test)]
mod golden;
mod lbctl;
mod offline;
mod port;
mod script;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lb::{Config, InterfaceId};
use lb_capture::{Interface, Reader, Record, Writer};

use offline::OfflineBalancer;
use script::Script;

/// The files of a replay.
pub struct Files {
    pub input: PathBuf,
    pub output: PathBuf,
    pub commands: Option<PathBuf>,
    pub explain: Option<PathBuf>,
}

/// Replays; whether every command went well.
pub fn run(config: &Config, files: &Files) -> anyhow::Result<bool> {
    let script = match &files.commands {
        Some(path) => Script::read(path)?,
        None => Script::default(),
    };
    let mut replay = Replay::new(config, files)?;
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

/// Shown on a terminal only.
fn progress_bar(bytes: u64) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(bytes);
    let style = indicatif::ProgressStyle::with_template("{wide_bar} {percent} % {eta}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// The balancer between the files.
struct Replay<'a> {
    interfaces: &'a [String],
    balancer: OfflineBalancer,
    output: Writer<BufWriter<File>>,
    explain: Option<BufWriter<File>>,
    written: u64,
    all_well: bool,
}

impl<'a> Replay<'a> {
    fn new(config: &'a Config, files: &Files) -> anyhow::Result<Replay<'a>> {
        let mut output = Writer::new(create(&files.output)?)
            .with_context(|| format!("cannot write {}", files.output.display()))?;
        // In the engine's order: an interface has the same number on both sides.
        for name in &config.engine.interfaces {
            output.add_interface(&Interface::ethernet(name))?;
        }
        Ok(Replay {
            interfaces: &config.engine.interfaces,
            balancer: OfflineBalancer::new(config)?,
            output,
            explain: files.explain.as_deref().map(create).transpose()?,
            written: 0,
            all_well: true,
        })
    }

    fn packet(
        &mut self,
        index: u64,
        record: &Record<'_>,
        interfaces: &[Interface],
    ) -> anyhow::Result<()> {
        let (ingress, name) = self.ingress(index, record, interfaces)?;
        self.balancer.pass_time(record.time);
        self.write_sent()?;
        if record.is_snapped() {
            bail!(
                "packet {index}: captured in part: {} of {} bytes",
                record.bytes.len(),
                record.original_len
            );
        }
        let explanation = self.balancer.packet(ingress, record.bytes);
        let out = self.write_sent()?;
        if let Some(explain) = &mut self.explain {
            explanation.write(explain, index, record.time, &name, &out)?;
        }
        Ok(())
    }

    fn ingress(
        &self,
        index: u64,
        record: &Record<'_>,
        interfaces: &[Interface],
    ) -> anyhow::Result<(InterfaceId, String)> {
        let ours = self.interfaces;
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

    /// Writes what was sent since the last time; the positions in the output of what it was.
    fn write_sent(&mut self) -> anyhow::Result<Vec<u64>> {
        let mut positions = Vec::new();
        while let Some(sent) = self.balancer.take_sent() {
            let interface = usize::from(sent.egress.0);
            self.output
                .write(&Record::whole(interface, sent.time, &sent.bytes), None)?;
            positions.push(self.written);
            self.written += 1;
        }
        Ok(positions)
    }

    fn command(&mut self, line: &script::Line) -> anyhow::Result<()> {
        self.balancer.pass_time(line.time);
        let answer = self.balancer.command(&line.words)?;
        self.write_sent()?;
        let mut stdout = io::stdout().lock();
        if answer.code != 0 {
            self.all_well = false;
            let errors = String::from_utf8_lossy(&answer.errors);
            let error = errors
                .lines()
                .find(|line| !line.is_empty())
                .unwrap_or("refused");
            writeln!(stdout, "@ {}: error: {error}", line.text)?;
        } else if !answer.output.is_empty() {
            writeln!(stdout, "@ {}", line.text)?;
            stdout.write_all(&answer.output)?;
        }
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<bool> {
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
