//! The configuration file: TOML in, a checked [`lb::Config`] out, or every mistake drawn where it stands; and back.
//!
//! `schema` says which keys there are, [`lb_document`] takes them out of the file and draws mistakes, and what they mean
//! together is checked by [`lb::Engine`].

mod check;
mod duration;
mod health;
mod ipvs;
mod lines;
mod mark;
mod network;
mod passive;
mod policy;
mod schema;
mod service;
mod tunnel;
mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lb::{Config, ServiceId};
use lb_checks::ServiceHealth;
pub use lb_document::Refusal;
use lb_document::fault::Faults;
use lb_document::{Document, fault, locate, section};

pub use health::changed_checks;
pub use write::write;

/// What a file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// To the library.
    pub balancer: Config,
    /// To the daemon: `[service.check]` and `[service.passive]` of the services that have such.
    pub health: BTreeMap<ServiceId, ServiceHealth>,
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
    lb_document::load(path, settings)
}

/// Reads `text`, which errors call `name`, and checks it as [`load`] does.
pub fn parse(name: String, text: String) -> Result<Settings, Refusal> {
    lb_document::parse(name, text, settings)
}

fn settings(document: &Document<'_>, faults: &mut Faults<'_>) -> Settings {
    let settings = schema::read(document, faults);
    // What the values mean together can be judged only when all of them are there.
    let checked = match faults.is_empty() {
        true => lb::Engine::new(&health::with_sorry_servers(&settings)).map(drop),
        false => Ok(()),
    };
    for error in checked.err().unwrap_or_default() {
        let error = health::of_sorry_server(error, &settings);
        faults.meaning(&error, locate::locate(document, &error.path));
    }
    settings
}

#[cfg(test)]
mod tests;
