//! Packets of many flows, for benches.

use std::fmt;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;

use libbpf_rs::ProgramInput;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};

use crate::BpfError;

crate::skeleton::skeleton!("generate");

/// `BPF_F_TEST_XDP_LIVE_FRAMES` of linux/bpf.h: what the program redirects is sent.
const LIVE_FRAMES: u32 = 1 << 1;

/// Headers that the program writes into every frame, in words of 8 bytes: `TEMPLATE_WORDS` of `include/generate.h`.
const TEMPLATE_WORDS: usize = 6;

/// Sends minimum-size UDP packets out of an interface, as fast as the calling CPU can make them.
///
/// The frames come from the kernel's own test facility for XDP and go straight to the interface's driver. A veth
/// delivers them only if its peer has an XDP program or GRO.
pub struct Generator {
    skeleton: skeleton::GenerateSkel<'static>,
    frame: Vec<u8>,
}

impl Generator {
    /// Packets like `frame`, of `flows` flows picked at random, out of the interface with the index `egress`.
    ///
    /// `frame` holds UDP over IPv4 without options, from 0.0.0.0:0 and with right checksums; the flows' sources are
    /// put in place of that: 50,000 ports, from 1024 on, on each of as many addresses as it takes, from
    /// `first_client` on.
    pub fn load(
        egress: u32,
        frame: &[u8],
        flows: u32,
        first_client: Ipv4Addr,
    ) -> Result<Generator, BpfError> {
        // A few words, once per generator: the skeleton would have to be borrowed from it otherwise.
        let storage = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = skeleton::GenerateSkelBuilder::default()
            .open(storage)
            .map_err(BpfError::bench("generate", "open"))?;
        let constants = (open.maps.rodata_data.as_deref_mut())
            .ok_or("no constants")
            .map_err(BpfError::bench("generate", "open"))?;
        constants.egress = egress;
        constants.flows = flows;
        constants.first_client = first_client.to_bits();
        let (words, _) = frame.as_chunks::<8>();
        constants.template = (words.first_chunk::<TEMPLATE_WORDS>())
            .ok_or("shorter than 48 bytes")
            .map_err(BpfError::bench("generate", "frame"))?
            .map(u64::from_ne_bytes);
        Ok(Generator {
            skeleton: open.load().map_err(BpfError::bench("generate", "load"))?,
            frame: frame.to_vec(),
        })
    }

    /// Makes and sends `packets` packets, at most 2^31 - 1. How many of them arrive is the receiver's affair.
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

    use lb_testkit::netns::available;
    use lb_testkit::pkt;
    use libbpf_rs::libbpf_sys::XDP_REDIRECT;

    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    fn from(address: Ipv4Addr, port: u16) -> Vec<u8> {
        pkt()
            .ipv4(address, VIP)
            .udp(port, 80)
            .payload(&[0; 18])
            .bytes()
    }

    #[test]
    fn frames_are_those_of_the_flows_with_right_checksums() {
        if !available() {
            return;
        }
        let flows = 50_020;
        let first = Ipv4Addr::new(198, 18, 255, 255);
        let generator = Generator::load(1, &from(Ipv4Addr::UNSPECIFIED, 0), flows, first)
            .expect("the kernel takes the program");
        let mut addresses = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for _ in 0..100_000 {
            // As if the page had been somewhere before.
            let (used, mut made) = ([0xff; 60], [0; 60]);
            let input = ProgramInput {
                data_in: Some(&used),
                data_out: Some(&mut made),
                ..ProgramInput::default()
            };
            let output = generator.skeleton.progs.generate.test_run(input);
            assert_eq!(output.expect("a test run").return_value, XDP_REDIRECT);
            let (address, port) = source_of(&made);
            assert_eq!(made[..48], from(address, port)[..48]);
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
    fn a_frame_too_short_for_its_headers_is_refused() {
        let error = Generator::load(1, &[0; 47], 1, VIP).expect_err("too short");
        assert_eq!(
            error.to_string(),
            "the BPF program `generate`: frame: shorter than 48 bytes"
        );
    }

    /// The source of an Ethernet frame with UDP over IPv4.
    fn source_of(frame: &[u8]) -> (Ipv4Addr, u16) {
        let address = frame[26..30].first_chunk::<4>().expect("four bytes");
        let port = frame[34..36].first_chunk::<2>().expect("two bytes");
        (Ipv4Addr::from(*address), u16::from_be_bytes(*port))
    }
}
