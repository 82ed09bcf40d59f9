//! A role's folder in the bpffs, and the programs that hang there.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lb_model::Addr;
use libbpf_rs::libbpf_sys;

use super::{AgentError, Counter, Prefix, maps};
use crate::link;

/// Where a program runs. Written, it is the name of the link in the bpffs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hook {
    /// On what the interface of this index receives.
    Ingress(u32),
    /// On what the interface of this index sends.
    Egress(u32),
    /// On events of TCP sockets.
    SocketEvents,
    /// On questions for the peer's address of an IPv4 socket.
    PeerName4,
    /// On questions for the peer's address of an IPv6 socket.
    PeerName6,
}

impl Hook {
    /// The interface, if it is one's.
    pub fn interface(&self) -> Option<u32> {
        match self {
            Hook::Ingress(index) | Hook::Egress(index) => Some(*index),
            _ => None,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hook::Ingress(index) => write!(f, "ingress-{index}"),
            Hook::Egress(index) => write!(f, "egress-{index}"),
            Hook::SocketEvents => f.write_str("sockops"),
            Hook::PeerName4 => f.write_str("getpeername4"),
            Hook::PeerName6 => f.write_str("getpeername6"),
        }
    }
}

impl FromStr for Hook {
    type Err = ();

    fn from_str(text: &str) -> Result<Hook, ()> {
        match text.split_once('-') {
            Some(("ingress", index)) => index.parse().map(Hook::Ingress).map_err(drop),
            Some(("egress", index)) => index.parse().map(Hook::Egress).map_err(drop),
            None if text == "sockops" => Ok(Hook::SocketEvents),
            None if text == "getpeername4" => Ok(Hook::PeerName4),
            None if text == "getpeername6" => Ok(Hook::PeerName6),
            _ => Err(()),
        }
    }
}

/// How a program came to its hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    /// By a new link.
    Anew,
    /// In place of the one that an earlier agent had left.
    InPlace,
}

/// A role's folder in the bpffs.
#[derive(Clone, Debug)]
pub struct Pins(PathBuf);

impl Pins {
    /// The folder at `path`, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Pins {
        Pins(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether the role is attached, or was and has not been detached.
    pub fn exist(&self) -> bool {
        self.0.is_dir()
    }

    /// Where programs are attached.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn hooks(&self) -> Result<Vec<Hook>, AgentError> {
        let entries = fs::read_dir(&self.0).map_err(AgentError::pin(&self.0))?;
        let mut hooks: Vec<Hook> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        hooks.sort_unstable();
        Ok(hooks)
    }

    /// What the programs have counted, over all CPUs.
    ///
    /// # Errors
    ///
    /// If the maps are not there, or without the right to read them.
    pub fn counters(&self, names: &[Counter]) -> Result<Vec<(&'static str, u64)>, AgentError> {
        maps::counters(&self.0, names)
    }

    /// The balancers that are believed; nobody in it means everybody.
    ///
    /// # Errors
    ///
    /// As for [`counters`](Self::counters).
    pub fn trusted(&self) -> Result<Vec<Prefix>, AgentError> {
        maps::prefixes(&self.0, "trusted")
    }

    /// The VIPs that the programs know.
    ///
    /// # Errors
    ///
    /// As for [`counters`](Self::counters).
    pub fn vips(&self) -> Result<Vec<Addr>, AgentError> {
        maps::addresses(&self.0, "vips")
    }

    /// Detaches from one hook.
    ///
    /// # Errors
    ///
    /// If the link cannot be removed.
    pub fn release(&self, hook: Hook) -> Result<(), AgentError> {
        let path = self.0.join(hook.to_string());
        fs::remove_file(&path).map_err(AgentError::pin(path))
    }

    /// Detaches from everywhere and forgets everything; nothing is wrong if there is nothing.
    ///
    /// # Errors
    ///
    /// If something cannot be removed.
    pub fn remove(&self) -> Result<(), AgentError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(AgentError::pin(&self.0))?,
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        // Links before maps: no program is to run on half of its maps' names.
        paths.sort_by_key(|path| Self::hook_at(path).is_none());
        for path in paths {
            fs::remove_file(&path).map_err(AgentError::pin(path))?;
        }
        fs::remove_dir(&self.0).map_err(AgentError::pin(&self.0))
    }

    /// Makes the folder.
    pub(super) fn make(&self) -> Result<(), AgentError> {
        fs::create_dir_all(&self.0).map_err(AgentError::pin(&self.0))
    }

    fn hook_at(path: &Path) -> Option<Hook> {
        path.file_name()?.to_str()?.parse().ok()
    }

    /// Puts `program` at `hook`: in place of the one whose link is pinned there, or by a new link.
    fn attach(
        &self,
        hook: Hook,
        program: BorrowedFd<'_>,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Attached, AgentError> {
        let path = self.0.join(hook.to_string());
        match link::open_pinned(&path) {
            Ok(link) => match link::replace_program(link.as_fd(), program) {
                Ok(()) => return Ok(Attached::InPlace),
                // The interface, or the control group, is gone and another has its number.
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
                    fs::remove_file(&path).map_err(AgentError::pin(&path))?;
                }
                Err(error) => return Err(attach_error(hook, &error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(AgentError::pin(path)(error)),
        }
        let on_sockets = |point| {
            let cgroup = cgroup.ok_or(io::ErrorKind::NotFound)?;
            link::attach_cgroup(program, cgroup, point)
        };
        let link = match hook {
            Hook::Ingress(interface) => link::attach_tcx_ingress(program, interface),
            Hook::Egress(interface) => link::attach_tcx_egress(program, interface),
            Hook::SocketEvents => on_sockets(libbpf_sys::BPF_CGROUP_SOCK_OPS),
            Hook::PeerName4 => on_sockets(libbpf_sys::BPF_CGROUP_INET4_GETPEERNAME),
            Hook::PeerName6 => on_sockets(libbpf_sys::BPF_CGROUP_INET6_GETPEERNAME),
        };
        let link = link.map_err(|error| attach_error(hook, &error))?;
        link::pin(link.as_fd(), &path).map_err(AgentError::pin(path))?;
        Ok(Attached::Anew)
    }
}

fn attach_error(hook: Hook, error: &io::Error) -> AgentError {
    AgentError::Attach {
        hook: hook.to_string(),
        reason: error.to_string(),
    }
}

/// A role's loaded programs.
#[derive(Debug)]
pub struct Programs {
    pub(super) pins: Pins,
    pub(super) ingress: Option<OwnedFd>,
    pub(super) egress: Option<OwnedFd>,
    pub(super) sockets: Vec<(Hook, OwnedFd)>,
}

impl Programs {
    /// Where they are pinned.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Attaches what belongs there to the interface of this index.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn attach_to_interface(&self, index: u32) -> Result<Attached, AgentError> {
        let mut how = Attached::InPlace;
        // What goes out is changed back by what came in: first those who send, then those who begin it.
        let points = [
            (Hook::Egress(index), &self.egress),
            (Hook::Ingress(index), &self.ingress),
        ];
        for (hook, program) in points {
            if let Some(program) = program
                && self.pins.attach(hook, program.as_fd(), None)? == Attached::Anew
            {
                how = Attached::Anew;
            }
        }
        Ok(how)
    }

    /// Attaches what belongs there to a control group's sockets.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn attach_to_sockets(&self, cgroup: BorrowedFd<'_>) -> Result<Attached, AgentError> {
        let mut how = Attached::InPlace;
        for (hook, program) in &self.sockets {
            if self.pins.attach(*hook, program.as_fd(), Some(cgroup))? == Attached::Anew {
                how = Attached::Anew;
            }
        }
        Ok(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_known_by_its_name() {
        for hook in [
            Hook::Ingress(2),
            Hook::Egress(4_000_000_000),
            Hook::SocketEvents,
            Hook::PeerName4,
            Hook::PeerName6,
        ] {
            assert_eq!(hook.to_string().parse(), Ok(hook));
        }
        for name in [
            "",
            "ingress",
            "ingress-",
            "ingress-x",
            "counters",
            "sockops-1",
        ] {
            assert_eq!(name.parse::<Hook>(), Err(()), "{name}");
        }
    }
}
