//! Why a file was not taken.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use annotate_snippets::{Group, Level, Renderer};

use crate::fault::Fault;

/// Nobody writes that much; a device named by mistake never ends.
const LARGEST_FILE: u64 = 64 << 20;

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
    pub(crate) fn unreadable(name: String, why: io::Error) -> Refusal {
        Refusal(Reason::Unreadable { name, why })
    }

    pub(crate) fn faulty(name: String, text: String, faults: Vec<Fault>) -> Refusal {
        Refusal(Reason::Faulty { name, text, faults })
    }

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

/// What is in the file.
pub fn text_of(path: &Path) -> io::Result<String> {
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
