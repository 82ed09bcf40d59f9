//! One network namespace.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::{fs, io, panic, thread};

use nix::sched::{CloneFlags, setns, unshare};

use super::process::{described, with_parent_death_kill};
use super::{Error, Process};

/// A network namespace of our own, held as an open file: it has no name anywhere and is gone when this value
/// and everything running in it are.
///
/// Only the network is separate: `/sys/class/net` still shows the devices of the namespace the process was
/// started in.
pub struct Namespace {
    label: String,
    file: File,
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// How `setpriv`, like a shell, says that there is no such program.
const NOT_STARTED: i32 = 127;

impl Namespace {
    /// Makes a namespace with its loopback up; `label` appears in thread names and messages.
    ///
    /// # Errors
    ///
    /// If the kernel refuses one; it needs root.
    pub fn new(label: &str) -> Result<Namespace, Error> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (report, made) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name(format!("netns {label}"))
            .spawn(move || {
                let file = unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(io::Error::from)
                    .and_then(|()| File::open("/proc/thread-self/ns/net"));
                let failed = file.is_err();
                if report.send(file).is_err() || failed {
                    return;
                }
                for job in inbox {
                    job();
                }
            })
            .map_err(Error::io("start a thread"))?;
        let file = made
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread ended")))
            .map_err(Error::io(format!(
                "unshare a network namespace for {label}"
            )))?;
        let namespace = Namespace {
            label: label.to_owned(),
            file,
            jobs,
        };
        namespace.ip("link set lo up")?;
        // Defaults of a new namespace are copied from the host's, which may be anything. Without duplicate address
        // detection an IPv6 address can be used at once. Nobody shall be told, or believe, that there is a shorter way:
        // a one-armed balancer sends everything back to where it came from.
        for scope in ["all", "default"] {
            for key in ["rp_filter", "send_redirects", "accept_redirects"] {
                namespace.sysctl(&format!("net/ipv4/conf/{scope}/{key}"), "0")?;
            }
            for key in ["accept_dad", "accept_ra", "accept_redirects"] {
                namespace.sysctl(&format!("net/ipv6/conf/{scope}/{key}"), "0")?;
            }
        }
        Ok(namespace)
    }

    /// The label it was made with.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Runs `f` on a thread that is inside and returns its value; sockets it opens stay inside for good.
    ///
    /// # Panics
    ///
    /// If `f` panics, with the same message.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        let inside = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET)
                .expect("we made this namespace, so we may enter it");
            f()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Starts a program inside; it is killed with the guard, with the namespace, or with this process.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn spawn(&self, command: Command) -> Result<Process, Error> {
        let (report, started) = mpsc::sync_channel(1);
        // The kernel's "kill me when my parent dies" means the thread that forked: it must be the one that
        // lives as long as the namespace.
        let job = move || drop(report.send(Process::start(command)));
        self.jobs
            .send(Box::new(job))
            .expect("the thread ends only after we hang up");
        started.recv().expect("the thread answers every job")
    }

    /// Runs a program inside to its end, with its output captured; that it failed is not an error.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn output(&self, command: Command) -> Result<Output, Error> {
        let what = described(&command);
        let mut command = with_parent_death_kill(command);
        let output = self
            .run(|| command.output())
            .map_err(Error::io(what.clone()))?;
        if output.status.code() == Some(NOT_STARTED) {
            return Err(failed(what, &output));
        }
        Ok(output)
    }

    /// Runs a program inside to its end and returns what it printed.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or ends with anything but success.
    pub fn check_output(&self, command: Command) -> Result<String, Error> {
        let what = described(&command);
        let output = self.output(command)?;
        if !output.status.success() {
            return Err(failed(what, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ip` inside with the words of `arguments` and returns what it printed.
    ///
    /// # Errors
    ///
    /// If `ip` is missing or fails.
    pub fn ip(&self, arguments: &str) -> Result<String, Error> {
        let mut ip = Command::new("ip");
        ip.args(arguments.split_whitespace());
        self.check_output(ip)
    }

    /// Sets `/proc/sys/<key>` as it is inside.
    ///
    /// # Errors
    ///
    /// If the key does not exist or does not take the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), Error> {
        let path = format!("/proc/sys/{key}");
        self.run(|| fs::write(&path, value))
            .map_err(Error::io(format!(
                "write {value} to {path} in {}",
                self.label
            )))
    }

    /// A path by which `ip` finds this namespace as the other side of a link.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

fn failed(command: String, output: &Output) -> Error {
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    Error::Failed {
        command,
        status: output.status,
        output: String::from_utf8_lossy(&printed).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::netns::available;

    #[test]
    fn two_namespaces_may_listen_on_the_same_address() {
        if !available() {
            return;
        }
        let namespaces = ["a", "b"].map(|label| Namespace::new(label).expect("a namespace"));
        let listeners = namespaces
            .each_ref()
            .map(|namespace| namespace.run(|| TcpListener::bind("127.0.0.1:80")));
        assert!(listeners.iter().all(Result::is_ok), "{listeners:?}");
        let again = namespaces[0].run(|| TcpListener::bind("127.0.0.1:80"));
        assert_eq!(
            again.map_err(|error| error.kind()).err(),
            Some(io::ErrorKind::AddrInUse)
        );
    }

    #[test]
    fn a_new_namespace_has_loopback_and_nothing_else() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("lonely").expect("a namespace");
        let links = namespace.ip("-oneline link show up").expect("a list");
        assert_eq!(links.lines().count(), 1, "{links}");
        assert!(links.contains("lo:"), "{links}");
    }

    #[test]
    fn a_failed_program_says_what_it_was_and_what_it_printed() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("lonely").expect("a namespace");
        let error = namespace
            .ip("link set nosuch up")
            .expect_err("no such link")
            .to_string();
        assert!(
            error.contains("`ip link set nosuch up`") && error.contains("nosuch\""),
            "{error}"
        );
    }
}
