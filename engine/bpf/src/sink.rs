//! Where a bench's packets end.

use std::fmt;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::link::attach_tcx_ingress;
use crate::{BpfError, Latencies};

crate::skeleton::skeleton!("count");

/// Entries of the program's map: `enum arrival` of `include/count.h`.
const EXPECTED: u32 = 0;
const STRAY: u32 = 1;

/// How many packets have arrived so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arrivals {
    /// For the network that packets should be for.
    pub expected: u64,
    /// For anywhere else.
    pub stray: u64,
}

/// Counts and drops the UDP packets, also those in a tunnel, that an interface receives, until it is dropped itself.
pub struct Sink {
    arrivals: MapHandle,
    latencies: MapHandle,
    /// Holds the program in place; never read.
    _link: OwnedFd,
}

impl Sink {
    /// A sink at the interface with the index `ingress`, for packets to the network `network`/`prefix_len`. Packets are
    /// `stamped` if a [`Generator`](crate::Generator) has written the time into them.
    pub fn attach(
        ingress: u32,
        network: IpAddr,
        prefix_len: u32,
        stamped: bool,
    ) -> Result<Sink, BpfError> {
        let mut storage = MaybeUninit::uninit();
        let mut open = skeleton::CountSkelBuilder::default()
            .open(&mut storage)
            .map_err(BpfError::bench("count", "open"))?;
        let constants = (open.maps.rodata_data.as_deref_mut())
            .ok_or("no constants")
            .map_err(BpfError::bench("count", "open"))?;
        let (address, bits) = match network {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, prefix_len.min(32)),
            IpAddr::V6(address) => (address.to_bits(), prefix_len.min(128)),
        };
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        constants.mask = words(mask);
        constants.network = words(address & mask);
        constants.stamped = stamped.into();
        let program = open.load().map_err(BpfError::bench("count", "load"))?;
        Ok(Sink {
            arrivals: MapHandle::try_from(&program.maps.arrivals)
                .map_err(BpfError::bench("count", "map"))?,
            latencies: MapHandle::try_from(&program.maps.latencies)
                .map_err(BpfError::bench("count", "map"))?,
            _link: attach_tcx_ingress(program.progs.count.as_fd(), ingress)
                .map_err(BpfError::bench("count", "attach"))?,
        })
    }

    /// What has arrived so far, over all CPUs.
    pub fn arrivals(&self) -> Result<Arrivals, BpfError> {
        Ok(Arrivals {
            expected: sum(&self.arrivals, EXPECTED)?,
            stray: sum(&self.arrivals, STRAY)?,
        })
    }

    /// How long the packets that have arrived so far were on their way, if they are stamped.
    pub fn latencies(&self) -> Result<Latencies, BpfError> {
        let entries = 0..Latencies::ENTRIES;
        let counts: Result<Vec<u64>, BpfError> =
            entries.map(|entry| sum(&self.latencies, entry)).collect();
        Ok(Latencies::new(counts?))
    }
}

/// In network order.
fn words(bits: u128) -> [u32; 4] {
    let bytes = bits.to_be_bytes();
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|at| u32::from_ne_bytes(words[at]))
}

/// An entry of a map with a value for each CPU.
fn sum(map: &MapHandle, entry: u32) -> Result<u64, BpfError> {
    let values = map
        .lookup_percpu(&entry.to_ne_bytes(), MapFlags::ANY)
        .map_err(BpfError::bench("count", "read"))?;
    Ok(values
        .iter()
        .flatten()
        .filter_map(|value| value.as_slice().try_into().ok())
        .map(u64::from_ne_bytes)
        .sum())
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::thread;
    use std::time::Duration;

    use lb_testkit::netns::{Namespace, available};
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    /// Loopback's index, in every namespace.
    const LOOPBACK: u32 = 1;

    #[test]
    fn packets_are_counted_by_where_they_went_and_go_no_further() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("sink").expect("a namespace");
        namespace.run(|| {
            let listener = UdpSocket::bind("127.1.1.1:4000").expect("loopback takes 127/8");
            let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let send = |to: &str| sender.send_to(b"x", to).expect("loopback sends");
            listener.set_nonblocking(true).expect("a flag");

            let network = "127.1.1.7".parse().expect("valid");
            let sink = Sink::attach(LOOPBACK, network, 24, false).expect("attached");
            for _ in 0..3 {
                send("127.1.1.1:4000");
            }
            send("127.1.2.1:4000");
            let all = Arrivals {
                expected: 3,
                stray: 1,
            };
            // Loopback delivers in a softirq, which may come a little later.
            let arrived = (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(1));
                sink.arrivals().expect("read") == all
            });
            assert!(arrived, "{:?}", sink.arrivals());
            let received = listener.recv(&mut [0; 8]);
            assert!(received.is_err(), "a packet got past the sink");

            drop(sink);
            send("127.1.1.1:4000");
            listener.set_nonblocking(false).expect("a flag");
            assert_eq!(listener.recv(&mut [0; 8]).ok(), Some(1), "the sink is gone");
        });
    }

    #[test]
    fn a_network_over_ipv6_is_told_from_others_and_stamps_say_how_long_it_took() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("sink").expect("a namespace");
        namespace.run(|| {
            let network = "::1".parse().expect("valid");
            let sink = Sink::attach(LOOPBACK, network, 128, true).expect("attached");
            let sender = UdpSocket::bind("[::1]:0").expect("a port");
            let now = Duration::try_from(clock_gettime(ClockId::Monotonic));
            let stamp = now.expect("after the boot") - Duration::from_millis(50);
            let stamp = stamp.as_nanos() as u64;
            sender
                .send_to(&stamp.to_ne_bytes(), "[::1]:9")
                .expect("loopback sends");
            let arrived = (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(1));
                sink.arrivals().expect("read").expected == 1
            });
            assert!(arrived, "{:?}", sink.arrivals());
            let took = sink.latencies().expect("read").percentile(50.0);
            // An entry is some 6 % wide.
            assert!(took > Some(Duration::from_millis(46)), "{took:?}");
        });
    }
}
