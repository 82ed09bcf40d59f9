//! Packets of many flows, for benches.

use std::fmt;
use std::mem::MaybeUninit;

use libbpf_rs::ProgramInput;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};

use crate::BpfError;

crate::skeleton::skeleton!("generate");

/// `BPF_F_TEST_XDP_LIVE_FRAMES` of linux/bpf.h: what the program redirects is sent.
const LIVE_FRAMES: u32 = 1 << 1;

/// What the program writes into every frame, in words of 8 bytes, at most: `TEMPLATE_WORDS` of `include/generate.h`.
const TEMPLATE_WORDS: usize = 9;

/// Sends UDP packets out of an interface, as fast as the calling CPU can make them or at a steady rate.
///
/// The frames come from the kernel's own test facility for XDP and go straight to the interface's driver. A veth
/// delivers them only if its peer has an XDP program or GRO.
pub struct Generator {
    skeleton: skeleton::GenerateSkel<'static>,
    frame: Vec<u8>,
}

/// What a [`Generator`] sends.
#[derive(Clone, Debug)]
pub struct Stream {
    /// UDP over IPv4 without options or over IPv6 without extensions, and 8 bytes of payload or more. The last four
    /// bytes of its source address, its source port and these 8 bytes are zero; its checksums are right for that.
    pub frame: Vec<u8>,
    /// Flows that packets are of, picked at random: 50,000 ports, from 1024 on, on each of as many addresses as it takes.
    pub flows: u32,
    /// The last four bytes of the first of these addresses.
    pub first_client: u32,
    /// Packets in a second; `None`: as many as the CPU can make.
    pub rate: Option<u32>,
    /// Whether the time of sending (`CLOCK_MONOTONIC`, nanoseconds) is in the packets: the first 8 bytes of payload.
    pub stamped: bool,
}

/// Where things are in a frame: `client_at` and so on of the program.
struct Places {
    client: u32,
    ip_checksum: u32,
    port: u32,
    udp_checksum: u32,
    payload: u32,
}

/// By the EtherType of a frame.
fn places(frame: &[u8]) -> Option<Places> {
    let (client, ip_checksum, udp) = match frame.get(12..14)? {
        [0x08, 0x00] => (26, 24, 34),
        [0x86, 0xdd] => (34, 0, 54),
        _ => return None,
    };
    Some(Places {
        client,
        ip_checksum,
        port: udp,
        udp_checksum: udp + 6,
        payload: udp + 8,
    })
}

impl Generator {
    /// Sends such packets out of the interface with the index `egress`.
    pub fn load(egress: u32, stream: &Stream) -> Result<Generator, BpfError> {
        let places = places(&stream.frame)
            .ok_or("neither IPv4 nor IPv6")
            .map_err(BpfError::bench("generate", "frame"))?;
        let end = places.payload as usize + size_of::<u64>();
        // Up to the next whole word, which is rewritten as it was.
        let words = end.div_ceil(8);
        if stream.frame.len() < 8 * words {
            return Err(BpfError::bench("generate", "frame")("too short"));
        }
        // A few words, once per generator: the skeleton would have to be borrowed from it otherwise.
        let storage = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = skeleton::GenerateSkelBuilder::default()
            .open(storage)
            .map_err(BpfError::bench("generate", "open"))?;
        let constants = (open.maps.rodata_data.as_deref_mut())
            .ok_or("no constants")
            .map_err(BpfError::bench("generate", "open"))?;
        constants.egress = egress;
        constants.flows = stream.flows;
        constants.first_client = stream.first_client;
        constants.interval_ns = stream.rate.map_or(0, |rate| 1_000_000_000 / rate.max(1));
        constants.words = words as u32;
        let mut template = [0; TEMPLATE_WORDS];
        for (word, bytes) in template
            .iter_mut()
            .zip(stream.frame.as_chunks().0)
            .take(words)
        {
            *word = u64::from_ne_bytes(*bytes);
        }
        constants.template = template;
        constants.client_at = places.client;
        constants.ip_check_at = places.ip_checksum;
        constants.port_at = places.port;
        constants.udp_check_at = places.udp_checksum;
        constants.stamp_at = if stream.stamped { places.payload } else { 0 };
        Ok(Generator {
            skeleton: open.load().map_err(BpfError::bench("generate", "load"))?,
            frame: stream.frame.clone(),
        })
    }

    /// Makes and sends `packets` packets, at most 2^31 - 1. How many of them arrive is the receiver's affair. At a steady
    /// rate they are fewer: a packet that is not due yet counts as well.
    ///
    /// Better many at once than few often: the kernel takes some 20 ms to begin and end. A signal interrupts it.
    /// The calling thread has to be in the interface's network namespace, and should be pinned to a CPU.
    pub fn send(&self, packets: u32) -> Result<(), BpfError> {
        let input = ProgramInput {
            data_in: Some(&self.frame),
            flags: LIVE_FRAMES,
            repeat: packets,
            ..ProgramInput::default()
        };
        match self.skeleton.progs.generate.test_run(input) {
            Ok(_) => Ok(()),
            Err(error) => Err(BpfError::bench("generate", "send")(error)),
        }
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use lb_testkit::netns::available;
    use lb_testkit::pkt;
    use libbpf_rs::libbpf_sys::{XDP_DROP, XDP_REDIRECT};
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    fn from(address: Ipv4Addr, port: u16) -> Vec<u8> {
        pkt()
            .ipv4(address, VIP)
            .udp(port, 80)
            .payload(&[0; 18])
            .bytes()
    }

    fn from_v6(address: Ipv6Addr, port: u16) -> Vec<u8> {
        pkt()
            .ipv6(address, Ipv6Addr::LOCALHOST)
            .udp(port, 80)
            .payload(&[0; 18])
            .bytes()
    }

    fn stream(frame: Vec<u8>, flows: u32, first_client: Ipv4Addr) -> Stream {
        Stream {
            frame,
            flows,
            first_client: first_client.to_bits(),
            rate: None,
            stamped: false,
        }
    }

    /// What the program makes of a frame, and what it says.
    fn made(generator: &Generator) -> (Vec<u8>, u32) {
        // As if the page had been somewhere before.
        let used = vec![0xff; generator.frame.len()];
        let mut made = used.clone();
        let input = ProgramInput {
            data_in: Some(&used),
            data_out: Some(&mut made),
            ..ProgramInput::default()
        };
        let output = generator.skeleton.progs.generate.test_run(input);
        let verdict = output.expect("a test run").return_value;
        (made, verdict)
    }

    #[test]
    fn frames_are_those_of_the_flows_with_right_checksums() {
        if !available() {
            return;
        }
        let first = Ipv4Addr::new(198, 18, 255, 255);
        let stream = stream(from(Ipv4Addr::UNSPECIFIED, 0), 50_020, first);
        let generator = Generator::load(1, &stream).expect("the kernel takes the program");
        let mut addresses = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for _ in 0..100_000 {
            let (made, verdict) = made(&generator);
            assert_eq!(verdict, XDP_REDIRECT);
            let (address, port) = source_of(&made);
            assert_eq!(made[..56], from(address, port)[..56]);
            addresses.insert(address);
            ports.insert(port);
        }
        assert!(addresses.first() == Some(&first));
        assert_eq!(addresses.last(), Some(&Ipv4Addr::new(198, 19, 0, 0)));
        assert_eq!(addresses.len(), 2, "{addresses:?}");
        assert!(ports.first() >= Some(&1024) && ports.last() < Some(&51_024));
        assert!(ports.len() > 30_000, "{} of 50,000 ports", ports.len());
    }

    #[test]
    fn frames_over_ipv6_have_right_checksums_too() {
        if !available() {
            return;
        }
        let network: Ipv6Addr = "2001:2::".parse().expect("valid");
        let stream = stream(from_v6(network, 0), 1000, Ipv4Addr::new(0, 0, 0, 1));
        let generator = Generator::load(1, &stream).expect("the kernel takes the program");
        for _ in 0..1000 {
            let (made, verdict) = made(&generator);
            assert_eq!(verdict, XDP_REDIRECT);
            let port = u16::from_be_bytes([made[54], made[55]]);
            let client = "2001:2::1".parse().expect("valid");
            assert_eq!(made[..72], from_v6(client, port)[..72]);
        }
    }

    #[test]
    fn a_stamped_frame_says_when_it_was_made_and_a_steady_one_waits_for_its_time() {
        if !available() {
            return;
        }
        let stream = Stream {
            // A second each.
            rate: Some(1),
            stamped: true,
            ..stream(from(Ipv4Addr::UNSPECIFIED, 0), 1, Ipv4Addr::LOCALHOST)
        };
        let now = || Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("after the boot");
        let generator = Generator::load(1, &stream).expect("the kernel takes the program");
        let before = now();
        let (made, verdict) = made(&generator);
        let after = now();
        assert_eq!(verdict, XDP_REDIRECT);
        let stamp: [u8; 8] = made[42..50].try_into().expect("eight bytes");
        let stamp = Duration::from_nanos(u64::from_ne_bytes(stamp));
        assert!(before <= stamp && stamp <= after);
        let (address, port) = source_of(&made);
        let mut payload = [0; 18];
        payload[..8].copy_from_slice(&made[42..50]);
        let plain = pkt().ipv4(address, VIP).udp(port, 80).payload(&payload);
        assert_eq!(made[..56], plain.bytes()[..56]);
        if now() < stamp + Duration::from_secs(1) {
            assert_eq!(self::made(&generator).1, XDP_DROP, "the next is not due");
        }
    }

    #[test]
    fn a_frame_too_short_for_its_headers_is_refused() {
        let frame = from(Ipv4Addr::UNSPECIFIED, 0);
        for (length, why) in [(55, "too short"), (13, "neither IPv4 nor IPv6")] {
            let stream = stream(frame[..length].to_vec(), 1, VIP);
            let error = Generator::load(1, &stream).expect_err("too short");
            let message = format!("the BPF program `generate`: frame: {why}");
            assert_eq!(error.to_string(), message);
        }
    }

    /// The source of an Ethernet frame with UDP over IPv4.
    fn source_of(frame: &[u8]) -> (Ipv4Addr, u16) {
        let address = frame[26..30].first_chunk::<4>().expect("four bytes");
        let port = frame[34..36].first_chunk::<2>().expect("two bytes");
        (Ipv4Addr::from(*address), u16::from_be_bytes(*port))
    }
}
