//! `lbrs` on a server of a lab.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Error, Namespace, Process};

/// How long `lbrs` may take to attach.
const LIMIT: Duration = Duration::from_secs(60);

/// What `lbrs` logs once everything is attached.
const READY: &str = "ready";

/// A running `lbrs`; what it has attached goes with it.
///
/// `lbrs` means its programs to outlive it, and keeps them below `/run`. Here that is in a mount namespace of its own, which
/// ends with the process.
pub struct Agent {
    _process: Process,
}

impl Agent {
    /// Starts `program` with the words of `arguments`, and waits until all is attached.
    ///
    /// # Errors
    ///
    /// If it does not come up; the error has its log.
    pub fn start(server: &Namespace, program: &Path, arguments: &str) -> Result<Agent, Error> {
        let mut lbrs = Command::new("unshare");
        lbrs.args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount -t tmpfs lbrs /run && exec \"$@\"")
            .arg("lbrs")
            .arg(program)
            .args(["--directory", "/run/lbrs"])
            .args(arguments.split_whitespace())
            .env("NO_COLOR", "1");
        let mut process = server.spawn(lbrs)?;
        process.wait_for(READY, LIMIT)?;
        Ok(Agent { _process: process })
    }
}
