//! The configuration file: TOML in, a checked [`lb::Config`] out, or every mistake drawn where it stands; and back.
//!
//! `schema` says which keys there are, `section` takes them out of a table, and what they mean together is
//! checked by [`lb::Engine`], whose answers `locate` leads back to the line in the file.

mod duration;
mod fault;
mod ipvs;
mod locate;
mod mark;
mod network;
mod schema;
mod section;
mod service;
mod tunnel;
mod write;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use annotate_snippets::{Group, Level, Renderer};
use lb::Config;
use toml::de::DeTable;

use fault::{Fault, Faults};
pub use write::write;

/// Nobody writes that much; a device named by mistake never ends.
const LARGEST_FILE: u64 = 64 << 20;

/// What a file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// To the library.
    pub balancer: Config,
    /// To the daemon: `[control]`.
    pub control: Control,
    /// To the daemon: `[metrics]`.
    pub metrics: Metrics,
}

/// `[metrics]`: numbers for Prometheus.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    /// Where they are offered over HTTP; `None`: nowhere.
    pub address: Option<SocketAddr>,
}

/// `[control]`: the control socket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Control {
    /// Where it is; `None`: wherever it usually is.
    pub socket: Option<PathBuf>,
}

/// Reads the file at `path` and checks everything that can be checked without rights and without a NIC.
pub fn load(path: &Path) -> Result<Settings, Refusal> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => parse(name, text),
        Err(why) => Err(Refusal(Reason::Unreadable { name, why })),
    }
}

/// Why a configuration was not taken; shown, it is what [`draw`](Refusal::draw) draws, without colours.
#[derive(Debug)]
pub struct Refusal(Reason);

#[derive(Debug)]
enum Reason {
    Unreadable {
        name: String,
        why: io::Error,
    },
    Faulty {
        name: String,
        text: String,
        faults: Vec<Fault>,
    },
}

impl Refusal {
    /// As a compiler would show it: each mistake with its line.
    pub fn draw(&self, renderer: &Renderer) -> String {
        match &self.0 {
            Reason::Unreadable { name, why } => {
                let title = format!("cannot read {name}: {why}");
                renderer.render(&[Group::with_title(Level::ERROR.primary_title(title))])
            }
            Reason::Faulty { name, text, faults } => {
                let drawings = faults.iter().map(|f| f.draw(name, text, renderer));
                drawings.collect::<Vec<_>>().join("\n\n")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(&Renderer::plain()))
    }
}

impl std::error::Error for Refusal {}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        io::Error::other(format!("line {line} is not UTF-8 text"))
    })
}

/// Reads `text`, which errors call `name`, and checks it as [`load`] does.
pub fn parse(name: String, text: String) -> Result<Settings, Refusal> {
    let mut faults = Faults::new(&text);
    match DeTable::parse(&text) {
        Err(error) => faults.syntax(error.message(), error.span()),
        Ok(document) => {
            let settings = schema::read(&document, &mut faults);
            // What the values mean together can be judged only when all of them are there.
            let checked = match faults.is_empty() {
                true => lb::Engine::new(&settings.balancer).map(drop),
                false => Ok(()),
            };
            for error in checked.err().unwrap_or_default() {
                faults.meaning(&error, locate::locate(&document, &error.path));
            }
            if faults.is_empty() {
                return Ok(settings);
            }
        }
    }
    let faults = faults.into_sorted();
    Err(Refusal(Reason::Faulty { name, text, faults }))
}

#[cfg(test)]
mod tests;
