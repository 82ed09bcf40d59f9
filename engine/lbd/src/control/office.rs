//! What requests are answered from.

use std::fmt;
use std::fs;
use std::sync::Arc;

use lb::Engine;
use lb_ipvsadm::ServiceNames;

use crate::sync_daemons::SyncDaemons;

/// What requests are answered from.
pub struct Office {
    pub engine: Arc<Engine>,
    /// Names of ports, where ipvsadm takes and prints them.
    pub names: ServiceNames,
    pub sync_daemons: SyncDaemons,
}

impl Office {
    pub fn new(engine: Arc<Engine>) -> Office {
        // Without the file there are no names, as for ipvsadm itself.
        let services = fs::read_to_string("/etc/services").unwrap_or_default();
        Office {
            engine,
            names: ServiceNames::from_text(&services),
            sync_daemons: SyncDaemons::default(),
        }
    }
}

/// The process at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub uid: u32,
    pub pid: Option<i32>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)?;
        match self.pid {
            Some(pid) => write!(f, ", process {pid}"),
            None => Ok(()),
        }
    }
}
