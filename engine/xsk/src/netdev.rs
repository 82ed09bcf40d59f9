//! What the kernel tells about a network device, by the ioctls of netdevice(7) and ethtool.
//!
//! Not from /sys: it may show another network namespace than the one the process is in.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use lb_model::{Interface, Mac};

use crate::XskError;

/// A device that can carry AF_XDP sockets.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub interface: Interface,
    pub index: u32,
    pub queues: u32,
}

/// How many receive queues the interface has in use; the engine runs at most as many workers.
pub fn queue_count(interface: &str) -> Result<u32, XskError> {
    Ok(Device::find(interface)?.queues)
}

impl Device {
    pub(crate) fn find(name: &str) -> Result<Device, XskError> {
        let told = |what| {
            let interface = name.to_owned();
            move |source| XskError::Interface {
                interface,
                what,
                source,
            }
        };
        let requests = Requests::new().map_err(told("open a socket"))?;
        let index = requests.index(name).map_err(told("find it"))?;
        let mac = requests.mac(name).map_err(told("its MAC"))?;
        let mtu = requests.mtu(name).map_err(told("its MTU"))?;
        let (receive, transmit) = requests.queues(name).map_err(told("its queues"))?;
        if transmit < receive {
            return Err(XskError::Queues {
                interface: name.to_owned(),
                receive,
                transmit,
            });
        }
        Ok(Device {
            interface: Interface {
                name: name.to_owned(),
                mac,
                mtu,
                addresses: Vec::new(),
            },
            index,
            queues: receive,
        })
    }
}

/// `struct ethtool_channels` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Channels {
    command: u32,
    pub max_rx: u32,
    max_tx: u32,
    max_other: u32,
    pub max_combined: u32,
    pub rx: u32,
    pub tx: u32,
    other: u32,
    pub combined: u32,
}

const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// A socket to send device requests through: any will do.
pub(crate) struct Requests(OwnedFd);

impl Requests {
    pub(crate) fn new() -> io::Result<Requests> {
        // SAFETY: socket(2) takes no pointers; the descriptor is checked, and ours alone.
        unsafe {
            match libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
                fd if fd < 0 => Err(io::Error::last_os_error()),
                fd => Ok(Requests(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    pub(crate) fn mac(&self, name: &str) -> io::Result<Mac> {
        let mut request = named(name)?;
        request_of(self.0.as_raw_fd(), libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: SIOCGIFHWADDR fills this member of the union.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mut mac = Mac::default();
        for (to, from) in mac.0.iter_mut().zip(address.sa_data) {
            *to = from as u8;
        }
        Ok(mac)
    }

    /// Sets the device up, and others of the `IFF_` flags with it.
    pub(crate) fn set_up(&self, name: &str, flags: libc::c_int) -> io::Result<()> {
        let mut request = named(name)?;
        request_of(self.0.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: SIOCGIFFLAGS fills this member of the union.
        let now = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = now | (flags | libc::IFF_UP) as libc::c_short;
        request_of(self.0.as_raw_fd(), libc::SIOCSIFFLAGS, &mut request)
    }

    pub(crate) fn is_up(&self, name: &str) -> io::Result<bool> {
        let mut request = named(name)?;
        request_of(self.0.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: SIOCGIFFLAGS fills this member of the union.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        Ok(libc::c_int::from(flags) & libc::IFF_UP != 0)
    }

    pub(crate) fn index(&self, name: &str) -> io::Result<u32> {
        let mut request = named(name)?;
        request_of(self.0.as_raw_fd(), libc::SIOCGIFINDEX, &mut request)?;
        // SAFETY: SIOCGIFINDEX fills this member of the union.
        Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32)
    }

    pub(crate) fn mtu(&self, name: &str) -> io::Result<u32> {
        let mut request = named(name)?;
        request_of(self.0.as_raw_fd(), libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: SIOCGIFMTU fills this member of the union.
        Ok(unsafe { request.ifr_ifru.ifru_mtu } as u32)
    }

    /// Receive and transmit queues in use.
    fn queues(&self, name: &str) -> io::Result<(u32, u32)> {
        let channels = self.channels(name)?;
        Ok((
            channels.rx + channels.combined,
            channels.tx + channels.combined,
        ))
    }

    /// A driver that does not know the question has one queue.
    pub(crate) fn channels(&self, name: &str) -> io::Result<Channels> {
        let mut channels = Channels {
            command: ETHTOOL_GCHANNELS,
            ..Channels::default()
        };
        // SAFETY: the kernel writes a `struct ethtool_channels`, which this is.
        let told = unsafe { self.ethtool_at(name, (&raw mut channels).cast()) }?;
        Ok(match told {
            true => channels,
            false => Channels {
                max_combined: 1,
                combined: 1,
                ..Channels::default()
            },
        })
    }

    /// Asks the driver the question that `words` begin with, which are overwritten by the answer; whether it knows it.
    ///
    /// # Safety
    ///
    /// The answer is no longer than `words` are.
    pub(crate) unsafe fn ethtool(&self, name: &str, words: &mut [u32]) -> io::Result<bool> {
        // SAFETY: as the caller promises.
        unsafe { self.ethtool_at(name, words.as_mut_ptr().cast()) }
    }

    /// # Safety
    ///
    /// At `question` there is a question, with room for the answer.
    unsafe fn ethtool_at(&self, name: &str, question: *mut libc::c_char) -> io::Result<bool> {
        let mut request = named(name)?;
        request.ifr_ifru.ifru_data = question;
        match request_of(self.0.as_raw_fd(), libc::SIOCETHTOOL, &mut request) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A request about the device `name`, all else zero.
pub(crate) fn named(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain bytes and integers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays for the terminating zero.
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface name has 1 to 15 bytes",
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// Asks `fd` a question that takes an `ifreq`.
pub(crate) fn request_of(
    fd: RawFd,
    question: libc::Ioctl,
    request: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: every question asked in this crate takes an ifreq, and what its `ifru_data` points to outlives the call.
    match unsafe { libc::ioctl(fd, question, request) } {
        answer if answer < 0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_a_wrong_name_is_named() {
        let lo = Device::find("lo").expect("every namespace has it");
        assert_eq!((lo.index, lo.queues), (1, 1));
        let error = queue_count("nosuchdevice").expect_err("there is none");
        assert!(
            error.to_string().starts_with("nosuchdevice: find it: "),
            "{error}"
        );
        assert!(queue_count("a name that is far too long").is_err());
    }
}
