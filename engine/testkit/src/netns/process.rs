//! A program running in a namespace.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Error;

/// How often a state that nobody announces is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A running program, killed when this value goes.
///
/// What it prints is kept, and shown if the test that holds it panics.
pub struct Process {
    command: String,
    child: Child,
    log: File,
}

impl Process {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far, on both of its outputs.
    pub fn log(&self) -> String {
        let mut bytes = vec![
            0;
            self.log
                .metadata()
                .map_or(0, |metadata| metadata.len() as usize)
        ];
        // The program shares the file's position with us, so read without moving it.
        let length = self.log.read_at(&mut bytes, 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Waits until it has printed `text`.
    ///
    /// # Errors
    ///
    /// If it ended or `limit` passed before that.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        loop {
            // Asked before the log is read: what it printed last is in the log of an ended process.
            let alive = self.child.try_wait().map_err(Error::io("wait"))?.is_none();
            let output = self.log();
            if output.contains(text) {
                return Ok(());
            }
            if !alive || Instant::now() > end {
                return Err(Error::NotReady {
                    command: self.command.clone(),
                    expected: text.to_owned(),
                    seconds: limit.as_secs(),
                    output,
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// If it has already been waited for.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let id = i32::try_from(self.child.id()).expect("the kernel's process ids are positive i32");
        kill(Pid::from_raw(id), signal)
            .map_err(|errno| Error::io(format!("send {signal} to {}", self.command))(errno.into()))
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// If it is still running after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait"))? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(Error::StillRunning {
                    command: self.command.clone(),
                    seconds: limit.as_secs(),
                    output: self.log(),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Starts `command` from the calling thread, whose namespace it inherits and with which it dies.
    pub(super) fn start(command: Command) -> Result<Process, Error> {
        let description = described(&command);
        let start = || {
            // A file without a name: it is gone with its last user, whatever happens to us.
            let log = tempfile::tempfile()?;
            let child = with_parent_death_kill(command)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log.try_clone()?)
                .spawn()?;
            Ok((child, log))
        };
        let (child, log) = start().map_err(Error::io(description.clone()))?;
        Ok(Process {
            command: description,
            child,
            log,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only if the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if thread::panicking() && !log.is_empty() {
            eprintln!("--- `{}` printed:\n{log}---", self.command);
        }
    }
}

/// The same command, to be killed by the kernel when the thread that starts it ends. `setpriv` does what
/// would otherwise need code between fork and exec.
pub(super) fn with_parent_death_kill(command: Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// A command as one would type it.
pub(super) fn described(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{Namespace, available};

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn runs(id: u32) -> bool {
        std::path::Path::new(&format!("/proc/{id}")).exists()
    }

    #[test]
    fn a_dropped_process_is_gone() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("short").expect("a namespace");
        let mut process = namespace
            .spawn(shell("echo up; exec sleep 1000"))
            .expect("started");
        process.wait_for("up", LIMIT).expect("it prints");
        let id = process.id();
        assert!(runs(id));
        drop(process);
        assert!(!runs(id));
    }

    #[test]
    fn a_process_does_not_outlive_its_namespace() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("short").expect("a namespace");
        let mut process = namespace
            .spawn(shell("echo up; exec sleep 1000"))
            .expect("started");
        process.wait_for("up", LIMIT).expect("it prints");
        drop(namespace);
        let status = process.wait(LIMIT).expect("it ends");
        assert!(!status.success());
    }

    #[test]
    fn waiting_for_a_text_ends_with_the_process() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("short").expect("a namespace");
        let mut process = namespace
            .spawn(shell("echo no such file >&2; exit 3"))
            .expect("started");
        let error = process
            .wait_for("ready", LIMIT)
            .expect_err("it never says that")
            .to_string();
        assert!(error.contains("no such file"), "{error}");
        assert_eq!(process.wait(LIMIT).expect("it ended").code(), Some(3));
    }
}
