//! The XDP program in front of one interface: what is ours goes to its sockets, the rest to the kernel.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lb_model::{Interface, Mac};
use libbpf_rs::ErrorKind;

use crate::link::{Hook, attach_xdp};
use crate::program::{COUNTER_PASSED, COUNTER_REDIRECTED, Maps, load};
use crate::rules::Change;
use crate::{BpfError, Rules};

/// Where the program runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel's generic path, because the driver refused.
    Generic {
        /// Why it refused, with a hint.
        why_not_native: String,
    },
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XdpMode::Native => f.write_str("native XDP"),
            XdpMode::Generic { why_not_native } => {
                write!(f, "generic XDP (native: {why_not_native})")
            }
        }
    }
}

/// What the program did with the interface's frames so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steered {
    /// Sent to our sockets.
    pub redirected: u64,
    /// Left to the kernel.
    pub passed: u64,
}

/// The steering program on one interface. Dropping it, or the end of the process, detaches it.
pub struct Steering {
    interface: String,
    mode: XdpMode,
    maps: Maps,
    rules: Rules,
    /// Holds the program in place.
    link: OwnedFd,
}

impl Steering {
    /// Attaches the program to `interface`, whose kernel index is `ifindex` and which has `queues` receive queues:
    /// in the driver, or else in the generic path. Without sockets and rules it leaves everything to the kernel.
    pub fn attach(interface: &Interface, ifindex: u32, queues: u32) -> Result<Steering, BpfError> {
        let name = &interface.name;
        let mut storage = MaybeUninit::uninit();
        let (maps, program) =
            load(&mut storage, queues).map_err(|error| load_error(name, &error))?;
        maps.set_own_mac(interface.mac)
            .map_err(|error| map_error(name, "own MAC", &error))?;
        let (link, mode) = attach(program.progs.steer.as_fd(), ifindex, name)?;
        Ok(Steering {
            interface: name.clone(),
            mode,
            maps,
            rules: Rules::default(),
            link,
        })
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Where the program runs.
    pub fn mode(&self) -> &XdpMode {
        &self.mode
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Changes what differs between the rules in force and `rules`; on an error the old ones are in force again.
    pub fn set_rules(&mut self, rules: &Rules) -> Result<(), BpfError> {
        let before = self.rules.clone();
        self.change_rules(rules).inspect_err(|_| {
            // Undoing needs no room that was not there before. Should the kernel refuse even so, `self.rules` still
            // says what is in force, and the first error is the one worth reading.
            let _ = self.change_rules(&before);
        })
    }

    /// Lets frames of `queue` go to the AF_XDP socket `socket`, which is bound to that queue of this interface.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        self.maps.set_socket(queue, socket).map_err(|error| {
            map_error(&self.interface, &format!("socket of queue {queue}"), &error)
        })
    }

    /// Tells the program the interface's new Ethernet address: frames for other addresses are not ours.
    pub fn set_mac(&mut self, mac: Mac) -> Result<(), BpfError> {
        self.maps
            .set_own_mac(mac)
            .map_err(|error| map_error(&self.interface, "own MAC", &error))
    }

    /// What the program did so far, over all CPUs.
    pub fn steered(&self) -> Result<Steered, BpfError> {
        let sum = |counter: u32| {
            self.maps
                .sum(counter)
                .map_err(|error| map_error(&self.interface, "counters", &error))
        };
        Ok(Steered {
            redirected: sum(COUNTER_REDIRECTED)?,
            passed: sum(COUNTER_PASSED)?,
        })
    }

    fn change_rules(&mut self, target: &Rules) -> Result<(), BpfError> {
        for change in self.rules.changes_to(target) {
            let (done, rule) = match &change {
                Change::Add(rule) => (self.maps.add(rule), rule),
                Change::Remove(rule) => (self.maps.remove(rule), rule),
            };
            done.map_err(|error| map_error(&self.interface, &rule.to_string(), &error))?;
            self.rules.apply(change);
        }
        Ok(())
    }
}

/// What holds the program in place.
impl AsFd for Steering {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Steering on {}: {}", self.interface, self.mode)
    }
}

fn attach(
    program: BorrowedFd<'_>,
    ifindex: u32,
    interface: &str,
) -> Result<(OwnedFd, XdpMode), BpfError> {
    let native = match attach_xdp(program, ifindex, Hook::Driver) {
        Ok(link) => return Ok((link, XdpMode::Native)),
        Err(error) => error,
    };
    if let Some(error) = attach_error(interface, &native) {
        return Err(error);
    }
    let why_not_native = explain_native(&native);
    match attach_xdp(program, ifindex, Hook::Generic) {
        Ok(link) => Ok((link, XdpMode::Generic { why_not_native })),
        Err(generic) => {
            Err(
                attach_error(interface, &generic).unwrap_or_else(|| BpfError::Attach {
                    interface: interface.to_owned(),
                    native: why_not_native,
                    generic,
                }),
            )
        }
    }
}

/// The errors for which the other mode would not help.
fn attach_error(interface: &str, error: &io::Error) -> Option<BpfError> {
    match error.kind() {
        // EBUSY from a program in the same mode, EEXIST from one in the other.
        io::ErrorKind::ResourceBusy | io::ErrorKind::AlreadyExists => Some(BpfError::Occupied {
            interface: interface.to_owned(),
        }),
        io::ErrorKind::PermissionDenied => Some(BpfError::Permission {
            interface: interface.to_owned(),
            what: "attach XDP",
            source: io::Error::from(error.kind()),
        }),
        _ => None,
    }
}

/// The driver's refusal, with what it usually means.
fn explain_native(error: &io::Error) -> String {
    // Drivers say these in messages that a bpf_link does not hand on.
    let hint = match error.raw_os_error() {
        Some(libc::ERANGE) => "the MTU is above some 3500 bytes, on this end or the peer's",
        Some(libc::ENOSPC) => "fewer receive queues than the peer has transmit queues",
        Some(libc::EOPNOTSUPP) => "the driver has no XDP, or not with its current features",
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}

fn load_error(interface: &str, error: &libbpf_rs::Error) -> BpfError {
    match error.kind() {
        ErrorKind::PermissionDenied => BpfError::Permission {
            interface: interface.to_owned(),
            what: "load the XDP program",
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        },
        _ => BpfError::Load {
            interface: interface.to_owned(),
            reason: format!("{error:#}"),
        },
    }
}

fn map_error(interface: &str, entry: &str, error: &libbpf_rs::Error) -> BpfError {
    BpfError::Map {
        interface: interface.to_owned(),
        entry: entry.to_owned(),
        reason: format!("{error:#}"),
    }
}
