//! What is written is read back, and nothing that is read can break the reader.

use std::io::{self, Read};

use lb_capture::{Interface, Reader, Record, Writer};
use lb_model::Time;
use proptest::collection::vec;
use proptest::prelude::*;

/// Gives one byte at a time, as a pipe may.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

#[derive(Debug, Clone)]
struct Packet {
    interface: usize,
    nanos: u64,
    bytes: Vec<u8>,
    cut: u32,
    comment: Option<String>,
}

impl Packet {
    fn record(&self) -> Record<'_> {
        Record {
            interface: self.interface,
            time: Time::from_nanos(self.nanos),
            bytes: &self.bytes,
            original_len: self.bytes.len() as u32 + self.cut,
        }
    }
}

fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    let one = (
        proptest::option::of("[a-z0-9.ü]{0,15}"),
        any::<u16>(),
        any::<u32>(),
    );
    vec(
        one.prop_map(|(name, link_type, snap_len)| Interface {
            name,
            link_type,
            snap_len,
        }),
        1..5,
    )
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let one = (
        0_usize..4,
        any::<u64>(),
        vec(any::<u8>(), 0..100),
        0_u32..3,
        proptest::option::of(".{0,40}"),
    );
    vec(
        one.prop_map(|(interface, nanos, bytes, cut, comment)| Packet {
            interface,
            nanos,
            bytes,
            cut,
            comment,
        }),
        0..30,
    )
}

fn write(interfaces: &[Interface], packets: &[Packet]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("memory");
    for interface in interfaces {
        writer.add_interface(interface).expect("memory");
    }
    for packet in packets {
        let record = Record {
            interface: packet.interface % interfaces.len(),
            ..packet.record()
        };
        writer
            .write(&record, packet.comment.as_deref())
            .expect("memory");
    }
    writer.into_inner()
}

fn read_all(
    source: impl Read,
    mut each: impl FnMut(&Record<'_>),
) -> Result<Vec<Interface>, lb_capture::CaptureError> {
    let mut reader = Reader::new(source)?;
    while let Some((record, _)) = reader.read_record()? {
        each(&record);
    }
    Ok(reader.interfaces().to_vec())
}

proptest! {
    #[test]
    fn written_captures_read_back_the_same(interfaces in interfaces(), packets in packets(), trickle in any::<bool>()) {
        let file = write(&interfaces, &packets);
        prop_assert_eq!(&file, &write(&interfaces, &packets), "the same input gives the same bytes");
        let mut at = 0;
        let mut differing = None;
        let each = |record: &Record<'_>| {
            let wanted = Record { interface: packets[at].interface % interfaces.len(), ..packets[at].record() };
            if *record != wanted {
                differing.get_or_insert(at);
            }
            at += 1;
        };
        let read = if trickle { read_all(Trickle(&file), each) } else { read_all(&file[..], each) };
        prop_assert_eq!(read.expect("whole"), interfaces);
        prop_assert_eq!((at, differing), (packets.len(), None));
    }

    #[test]
    fn no_change_of_a_capture_breaks_the_reader(
        interfaces in interfaces(),
        packets in packets(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = write(&interfaces, &packets);
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        let mut bytes = 0;
        let _ = read_all(&file[..], |record| bytes += record.bytes.len());
        prop_assert!(bytes <= file.len());
    }

    #[test]
    fn no_bytes_break_the_reader(
        magic in prop::sample::select(vec![0xa1b2_c3d4_u32, 0xa1b2_3c4d, 0xd4c3_b2a1, 0x0a0d_0d0a, 0]),
        rest in vec(any::<u8>(), 0..300),
    ) {
        let file = [&magic.to_le_bytes()[..], &rest].concat();
        let _ = read_all(&file[..], |_| ());
    }
}

#[test]
fn packets_larger_than_the_read_window_pass() {
    let large = vec![7; 3 << 20];
    let mut writer = Writer::new(Vec::new()).expect("memory");
    let eth0 = writer
        .add_interface(&Interface::ethernet("eth0"))
        .expect("memory");
    for nanos in 0..3 {
        let record = Record::whole(eth0, Time::from_nanos(nanos), &large);
        writer.write(&record, None).expect("memory");
    }
    let mut count = 0;
    read_all(&writer.into_inner()[..], |record| {
        assert_eq!(record.bytes, large);
        count += 1;
    })
    .expect("whole");
    assert_eq!(count, 3);
}

#[test]
fn a_packet_of_an_interface_not_added_is_refused() {
    let mut writer = Writer::new(Vec::new()).expect("memory");
    let record = Record::whole(0, Time::ZERO, &[]);
    let refused = writer.write(&record, None).expect_err("no interface");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
}
