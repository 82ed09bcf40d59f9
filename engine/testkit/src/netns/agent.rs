//! `lbrs` on a server of a lab.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::{Error, Namespace, Process};

/// How long `lbrs` may take to attach.
const LIMIT: Duration = Duration::from_secs(60);

/// What `lbrs` logs once everything is attached.
const READY: &str = "ready";

/// What is said when the mount namespace is there.
const HOLDING: &str = "holding";

/// A place on a server where `lbrs` keeps what outlives it.
///
/// `lbrs` means its programs to outlive it, and keeps them below `/run`. Here that is in a mount namespace of its own, which
/// ends with this value; addresses and sysctls stay, unless they are detached.
pub struct AgentPlace<'n> {
    server: &'n Namespace,
    program: PathBuf,
    holder: Process,
}

impl<'n> AgentPlace<'n> {
    /// Makes the place for `program`; nothing is attached yet.
    ///
    /// # Errors
    ///
    /// If there can be no mount namespace.
    pub fn new(server: &'n Namespace, program: &Path) -> Result<AgentPlace<'n>, Error> {
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "--propagation", "private", "sh", "-c"]);
        holder.arg(format!(
            "mount -t tmpfs lbrs /run && echo {HOLDING} && exec sleep infinity"
        ));
        let mut holder = server.spawn(holder)?;
        holder.wait_for(HOLDING, LIMIT)?;
        Ok(AgentPlace {
            server,
            program: program.to_owned(),
            holder,
        })
    }

    /// Runs `lbrs` with the words of `arguments` to its end, and returns what it printed.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn run(&self, arguments: &str) -> Result<String, Error> {
        self.server.check_output(self.command(arguments))
    }

    /// Runs `lbrs` to its end, whatever that is.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn output(&self, arguments: &str) -> Result<Output, Error> {
        self.server.output(self.command(arguments))
    }

    /// Starts an `lbrs` that stays, and waits until all is attached.
    ///
    /// # Errors
    ///
    /// If it does not come up; the error has its log.
    pub fn stay(&self, arguments: &str) -> Result<Process, Error> {
        let mut process = self.server.spawn(self.command(arguments))?;
        process.wait_for(READY, LIMIT)?;
        Ok(process)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut lbrs = Command::new("nsenter");
        lbrs.args(["--target", &self.holder.id().to_string(), "--mount", "--"])
            .arg(&self.program)
            .args(["--directory", "/run/lbrs"])
            .args(arguments.split_whitespace())
            .env("NO_COLOR", "1");
        lbrs
    }
}

/// A running `lbrs`; its programs go with it.
pub struct Agent {
    _process: Process,
    _place: Process,
}

impl Agent {
    /// Starts `program` with the words of `arguments`, and waits until all is attached.
    ///
    /// # Errors
    ///
    /// If it does not come up; the error has its log.
    pub fn start(server: &Namespace, program: &Path, arguments: &str) -> Result<Agent, Error> {
        let place = AgentPlace::new(server, program)?;
        Ok(Agent {
            _process: place.stay(arguments)?,
            _place: place.holder,
        })
    }
}
