//! What the kernel tells about a network device, by the ioctls of netdevice(7) and ethtool.
//!
//! Not from /sys: it may show another network namespace than the one the process is in.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use lb_model::{HashedFields, Interface, Mac, Rss};

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

/// How the interface chooses the queue of a packet; an error if its driver does not tell, or if it is not by Toeplitz's
/// hash.
pub fn rss(interface: &str) -> io::Result<Rss> {
    Requests::new()?.rss(interface)
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

/// `struct ethtool_rxfh` up to its `rss_config`, in words.
const RXFH_HEADER: usize = 6;
const RXFH_INDIRECTION_SIZE: usize = 2;
const RXFH_KEY_SIZE: usize = 3;
const RXFH_FUNCTION: usize = 4;

const ETHTOOL_GRSSH: u32 = 0x46;

/// The first members of `struct ethtool_rxnfc`, which are all that this question has.
#[repr(C)]
struct HashQuestion {
    command: u32,
    flow_type: u32,
    fields: u64,
}

const ETHTOOL_GRXFH: u32 = 0x29;
const TCP_V4_FLOW: u32 = 1;
const UDP_V4_FLOW: u32 = 2;
const TCP_V6_FLOW: u32 = 5;
const UDP_V6_FLOW: u32 = 6;
/// `RXH_IP_SRC | RXH_IP_DST`.
const BOTH_ADDRESSES: u64 = 0x30;
/// `RXH_L4_B_0_1 | RXH_L4_B_2_3`.
const BOTH_PORTS: u64 = 0xc0;

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

impl Requests {
    fn rss(&self, name: &str) -> io::Result<Rss> {
        let sizes = self.ask_rxfh(name, 0, 0)?;
        let (indirection, key) = (sizes[RXFH_INDIRECTION_SIZE], sizes[RXFH_KEY_SIZE]);
        let answer = self.ask_rxfh(name, indirection, key)?;
        let fields = [TCP_V4_FLOW, UDP_V4_FLOW, TCP_V6_FLOW, UDP_V6_FLOW]
            .map(|flow_type| self.hashed_fields(name, flow_type));
        decode_rxfh(&answer, fields)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "not by Toeplitz's hash"))
    }

    /// `struct ethtool_rxfh` with room for so many words of the indirection table and so many bytes of the key.
    fn ask_rxfh(&self, name: &str, indirection: u32, key: u32) -> io::Result<Vec<u32>> {
        /// More than any NIC has.
        const MOST: u32 = 1 << 16;
        let config = indirection.min(MOST) as usize + key.min(MOST).div_ceil(4) as usize;
        let mut words = vec![0; RXFH_HEADER + config];
        words[0] = ETHTOOL_GRSSH;
        words[RXFH_INDIRECTION_SIZE] = indirection.min(MOST);
        words[RXFH_KEY_SIZE] = key.min(MOST);
        let mut request = named(name)?;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        request_of(self.0.as_raw_fd(), libc::SIOCETHTOOL, &mut request)?;
        Ok(words)
    }

    fn hashed_fields(&self, name: &str, flow_type: u32) -> HashedFields {
        let mut question = HashQuestion {
            command: ETHTOOL_GRXFH,
            flow_type,
            fields: 0,
        };
        let asked = named(name).and_then(|mut request| {
            request.ifr_ifru.ifru_data = (&raw mut question).cast();
            request_of(self.0.as_raw_fd(), libc::SIOCETHTOOL, &mut request)
        });
        match asked {
            Ok(()) if question.fields == BOTH_ADDRESSES | BOTH_PORTS => HashedFields::Ports,
            Ok(()) if question.fields == BOTH_ADDRESSES => HashedFields::Addresses,
            _ => HashedFields::Other,
        }
    }
}

/// What `struct ethtool_rxfh` says; `None` if that is not Toeplitz's hash as it was published.
fn decode_rxfh(words: &[u32], fields: [HashedFields; 4]) -> Option<Rss> {
    /// `ETH_RSS_HASH_TOP`, and nothing done to the packet's fields before (`RXH_XFRM_SYM_XOR`).
    const TOEPLITZ: [u8; 2] = [1, 0];
    let (header, config) = words.split_at_checked(RXFH_HEADER)?;
    let [function, transformed, ..] = header[RXFH_FUNCTION].to_ne_bytes();
    if [function, transformed] != TOEPLITZ {
        return None;
    }
    let (indirection, key) = config.split_at_checked(header[RXFH_INDIRECTION_SIZE] as usize)?;
    let queues = indirection.iter().map(|queue| u16::try_from(*queue).ok());
    let key: Vec<u8> = key.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let key = key.get(..header[RXFH_KEY_SIZE] as usize)?.to_vec();
    Rss::new(key, queues.collect::<Option<_>>()?, fields)
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

    /// A NIC with four queues as the kernel describes it.
    fn rxfh(function: [u8; 4]) -> Vec<u32> {
        let mut words = vec![ETHTOOL_GRSSH, 0, 4, 40, u32::from_ne_bytes(function), 0];
        words.extend([0, 1, 2, 3]);
        let key: Vec<u8> = (1..=40).collect();
        let (key, _) = key.as_chunks::<4>();
        words.extend(key.iter().map(|word| u32::from_ne_bytes(*word)));
        words
    }

    #[test]
    fn what_a_nic_tells_of_its_queues_is_read_whole_or_not_at_all() {
        let fields = [HashedFields::Ports; 4];
        let expected = Rss::new((1..=40).collect(), vec![0, 1, 2, 3], fields);
        assert!(expected.is_some());
        assert!(decode_rxfh(&rxfh([1, 0, 0, 0]), fields) == expected);
        for other_function in [[2, 0, 0, 0], [1, 1, 0, 0], [0; 4]] {
            assert!(decode_rxfh(&rxfh(other_function), fields).is_none());
        }
        let whole = rxfh([1, 0, 0, 0]);
        for len in 0..whole.len() {
            assert!(decode_rxfh(&whole[..len], fields).is_none(), "{len}");
        }
    }

    #[test]
    fn a_device_that_does_not_tell_is_an_error() {
        let error = rss("lo").err().expect("it has no queues to choose");
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    }

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
