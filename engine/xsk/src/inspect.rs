//! What the kernel tells about a device that may be going to carry AF_XDP sockets, without changing anything.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;

use lb_bpf::XdpState;

use crate::netdev::{Channels, Requests};

/// A network device of the calling thread's network namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceState {
    /// Its number.
    pub index: u32,
    /// Whether an administrator has set it up.
    pub is_up: bool,
    /// The longest packet, without the Ethernet header.
    pub mtu: u32,
    /// Its driver, where that has a name.
    pub driver: Option<String>,
    /// Receive queues in use.
    pub receive_queues: u32,
    /// Transmit queues in use.
    pub transmit_queues: u32,
    /// The most queues that can be in use.
    pub most_queues: u32,
    /// Offloads by the names that `ethtool -k` gives them, more or less: `rx-gro-hw`, `rx-lro`.
    pub offloads: BTreeMap<String, Offload>,
    /// Programs that are attached, and what the driver makes of them.
    pub xdp: XdpState,
}

/// Something that a device does in place of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offload {
    /// Whether it does.
    pub is_on: bool,
    /// Whether it can be changed.
    pub can_change: bool,
}

impl DeviceState {
    /// Of the device `name`.
    pub fn of(name: &str) -> io::Result<DeviceState> {
        let requests = Requests::new()?;
        let index = requests.index(name)?;
        let Channels {
            rx,
            tx,
            combined,
            max_rx,
            max_combined,
            ..
        } = requests.channels(name)?;
        Ok(DeviceState {
            index,
            is_up: requests.is_up(name)?,
            mtu: requests.mtu(name)?,
            driver: driver(&requests, name)?,
            receive_queues: rx + combined,
            transmit_queues: tx + combined,
            most_queues: max_rx.max(max_combined),
            offloads: offloads(&requests, name)?,
            xdp: XdpState::of(index)?,
        })
    }
}

/// From linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// Words of `struct ethtool_drvinfo`, whose second field is the driver's name in 32 bytes.
const DRVINFO_WORDS: usize = 49;

fn driver(requests: &Requests, name: &str) -> io::Result<Option<String>> {
    let mut info = [0; DRVINFO_WORDS];
    info[0] = ETHTOOL_GDRVINFO;
    // SAFETY: the kernel writes a `struct ethtool_drvinfo`, which has as many words.
    let told = unsafe { requests.ethtool(name, &mut info) }?;
    Ok(told.then(|| text(&info[1..9])))
}

fn offloads(requests: &Requests, name: &str) -> io::Result<BTreeMap<String, Offload>> {
    // `struct ethtool_sset_info`: command, reserved, a mask of sets in two words, the size of each of them.
    let mut size = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
    // SAFETY: one bit is set in the mask, so the kernel writes one size behind it.
    unsafe { requests.ethtool(name, &mut size) }?;
    let count = size[4] as usize;

    // `struct ethtool_gstrings`: command, set, count, the strings.
    let mut names = vec![0; 3 + count * ETH_GSTRING_LEN / size_of::<u32>()];
    (names[0], names[1], names[2]) = (ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32);
    // SAFETY: the number of features is fixed in a kernel, and there is room for as many.
    unsafe { requests.ethtool(name, &mut names) }?;

    // `struct ethtool_gfeatures`: command, blocks, and for each block of 32 features what is available, wanted, active
    // and never changed.
    let blocks = count.div_ceil(32);
    let mut features = vec![0; 2 + 4 * blocks];
    (features[0], features[1]) = (ETHTOOL_GFEATURES, blocks as u32);
    // SAFETY: the kernel writes as many blocks as the second word says, and there is room for them.
    unsafe { requests.ethtool(name, &mut features) }?;

    let names = names[3..].chunks_exact(ETH_GSTRING_LEN / size_of::<u32>());
    let named = names.enumerate().map(|(at, name)| {
        let block = &features[2 + 4 * (at / 32)..][..4];
        let has = |word: u32| word & (1 << (at % 32)) != 0;
        let offload = Offload {
            is_on: has(block[2]),
            can_change: has(block[0]) && !has(block[3]),
        };
        (text(name), offload)
    });
    Ok(named.filter(|(name, _)| !name.is_empty()).collect())
}

/// A string that ends with a zero, or with the words.
fn text(words: &[u32]) -> String {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.push(0);
    let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_tells_what_it_is() {
        let lo = DeviceState::of("lo").expect("every namespace has it");
        assert_eq!((lo.index, lo.receive_queues, lo.xdp.program), (1, 1, None));
        assert!(lo.offloads.contains_key("rx-gro-hw"), "{:?}", lo.offloads);
        assert!(DeviceState::of("nosuchdevice").is_err());
    }
}
