//! keepalived.conf in, a configuration of lbd out, and a word about every key that is not in it as it was.
//!
//! keepalived's language is text substitution before words: [`lines`] does that, `words` cuts what is left into words,
//! `block` nests them. `virtual_server` and its neighbours take the values out of the blocks, with keepalived's own
//! defaults and inheritance, and `convert` says the same in lbd's terms. Whatever is not carried over, or not as it was, is
//! noted in the [`Report`] with its file and line.

mod block;
mod braces;
mod checker;
mod checks;
mod convert;
mod files;
mod global;
mod group;
mod lines;
mod notify;
mod parameters;
mod real_server;
mod report;
mod value;
mod virtual_server;
mod vrrp;
mod words;

use std::path::Path;

use lb_config::Settings;

pub use files::{Disk, Files};
pub use lines::{Line, Place};
pub use report::{Kind, Note, Report};

use block::Entry;

/// What of the machine the meaning of a file depends on.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// keepalived's `-i`: which lines that begin with `@` are in force. keepalived takes the host's name, up to the first
    /// dot, where nobody says otherwise.
    pub config_id: String,
    /// The interfaces to balance on; empty: those of the VRRP instances.
    pub interfaces: Vec<String>,
}

/// A file, read and translated.
#[derive(Clone, Debug)]
pub struct Import {
    /// What lbd is to do.
    pub settings: Settings,
    /// What is left to keepalived, and how it is told of lbd: lines for its own file. Empty without VRRP.
    pub keepalived: String,
    /// What was not carried over as it was.
    pub report: Report,
}

/// Reads the file at `path` with all that it includes.
///
/// # Errors
///
/// If something cannot be read, or has no meaning: the report then contains [`Kind::Error`]s.
pub fn import(files: &impl Files, path: &Path, options: &Options) -> Result<Import, Report> {
    let mut report = Report::default();
    let lines = lines::read(files, path, &options.config_id, &mut report);
    let entries = block::nest(&lines, &mut report);
    let file = File::read(entries, &mut report);
    let settings = convert::settings(&file, options, &mut report);
    report.sort();
    match report.has_errors() {
        true => Err(report),
        false => Ok(Import {
            settings,
            keepalived: vrrp::snippet(&file.vrrp, &file.global),
            report,
        }),
    }
}

/// What the blocks of a file say.
#[derive(Default)]
struct File {
    global: global::Global,
    groups: Vec<group::Group>,
    virtual_servers: Vec<virtual_server::VirtualServer>,
    vrrp: vrrp::Vrrp,
}

impl File {
    fn read(entries: Vec<Entry>, report: &mut Report) -> File {
        let mut file = File::default();
        for entry in entries {
            match entry.key() {
                "global_defs" => file.global.read(&entry, report),
                "virtual_server_group" => file.groups.extend(group::read(&entry, report)),
                "virtual_server" => {
                    let server = virtual_server::read(&entry, report);
                    file.virtual_servers.extend(server);
                }
                "SSL" => report.unused(
                    &entry,
                    "checks present no certificate and verify none unless told to",
                ),
                _ => file.vrrp.take(&entry, report),
            }
        }
        file
    }
}
