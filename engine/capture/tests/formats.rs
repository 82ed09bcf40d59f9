//! Captures as other programs write them, built by hand: both formats, both byte orders, all kinds of packet blocks.

use lb_capture::{CaptureError, Problem, Reader};

/// A file in either byte order.
struct File {
    bytes: Vec<u8>,
    big: bool,
}

impl File {
    fn new(big: bool) -> File {
        File {
            bytes: Vec::new(),
            big,
        }
    }

    fn u16(&mut self, n: u16) -> &mut File {
        self.bytes.extend(if self.big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        });
        self
    }

    fn u32(&mut self, n: u32) -> &mut File {
        self.bytes.extend(if self.big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        });
        self
    }

    fn u64(&mut self, n: u64) -> &mut File {
        self.bytes.extend(if self.big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        });
        self
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut File {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn block(&mut self, kind: u32, body: impl FnOnce(&mut File)) -> &mut File {
        let mut inner = File::new(self.big);
        body(&mut inner);
        let length = inner.bytes.len() as u32 + 12;
        self.u32(kind).u32(length).raw(&inner.bytes).u32(length)
    }

    fn section(&mut self) -> &mut File {
        self.block(0x0a0d_0d0a, |b| {
            b.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
        })
    }

    fn interface(
        &mut self,
        name: &str,
        resolution: Option<u8>,
        offset: i64,
        snap_len: u32,
    ) -> &mut File {
        self.block(1, |b| {
            b.u16(1).u16(0).u32(snap_len);
            b.u16(2).u16(name.len() as u16).raw(name.as_bytes());
            if let Some(resolution) = resolution {
                b.u16(9).u16(1).raw(&[resolution]);
            }
            b.u16(14).u16(8).u64(offset as u64);
            b.u16(0).u16(0);
        })
    }

    fn enhanced(&mut self, interface: u32, ticks: u64, bytes: &[u8], original: u32) -> &mut File {
        self.block(6, |b| {
            b.u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32);
            b.u32(bytes.len() as u32).u32(original).raw(bytes);
        })
    }
}

/// Interface, nanoseconds, bytes, original length.
type Packet = (usize, u64, Vec<u8>, u32);

fn packets(file: &[u8]) -> (Vec<Packet>, Vec<Option<String>>, Option<CaptureError>) {
    let mut reader = match Reader::new(file) {
        Ok(reader) => reader,
        Err(e) => return (Vec::new(), Vec::new(), Some(e)),
    };
    let mut seen = Vec::new();
    let error = loop {
        match reader.read_record() {
            Ok(Some((r, _))) => seen.push((
                r.interface,
                r.time.as_nanos(),
                r.bytes.to_vec(),
                r.original_len,
            )),
            Ok(None) => break None,
            Err(e) => break Some(e),
        }
    };
    let names = reader.interfaces().iter().map(|i| i.name.clone()).collect();
    (seen, names, error)
}

fn classic(big: bool, magic: u32) -> Vec<u8> {
    let mut file = File::new(big);
    file.u32(magic)
        .u16(2)
        .u16(4)
        .u32(0)
        .u32(0)
        .u32(65535)
        .u32(1);
    file.u32(10).u32(7).u32(3).u32(3);
    file.bytes.extend([1, 2, 3]);
    file.u32(11).u32(8).u32(2).u32(1500);
    file.bytes.extend([4, 5]);
    file.bytes
}

/// Every feature of pcapng in one file.
fn rich(big: bool) -> Vec<u8> {
    let mut file = File::new(big);
    file.section()
        .interface("eth0", None, 0, 0)
        .interface("eth1", Some(9), -1, 4)
        .enhanced(1, 2_000_000_005, &[1, 2, 3], 3)
        .block(0x0bad_cafe, |b| {
            b.raw(b"somebody's own");
        })
        .enhanced(0, 6, &[4; 5], 1500)
        .interface("late", Some(0x80 | 1), 0, 0)
        .enhanced(2, 3, &[], 0)
        .block(2, |b| {
            b.u16(1)
                .u16(9)
                .u32(0)
                .u32(1_000_000_001)
                .u32(1)
                .u32(1)
                .raw(&[9]);
        })
        .section()
        .interface("other", Some(9), 0, 2)
        .enhanced(0, 40, &[7], 1)
        .block(3, |b| {
            b.u32(6).raw(&[8, 8]);
        });
    file.bytes
}

#[test]
fn classic_pcap_reads_in_both_byte_orders_and_both_resolutions() {
    for (magic, nanos) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
        for big in [false, true] {
            let (seen, names, error) = packets(&classic(big, magic));
            assert!(error.is_none(), "{error:?}");
            assert_eq!(names, [None]);
            assert_eq!(
                seen,
                [
                    (0, 10_000_000_000 + 7 * nanos, vec![1, 2, 3], 3),
                    (0, 11_000_000_000 + 8 * nanos, vec![4, 5], 1500),
                ]
            );
        }
    }
}

#[test]
fn pcapng_reads_all_packet_blocks_of_all_sections_and_interfaces() {
    for big in [false, true] {
        let (seen, names, error) = packets(&rich(big));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            names,
            ["eth0", "eth1", "late", "other"].map(|n| Some(n.to_owned()))
        );
        assert_eq!(
            seen,
            [
                (1, 1_000_000_005, vec![1, 2, 3], 3),
                (0, 6_000, vec![4; 5], 1500),
                (2, 1_500_000_000, vec![], 0),
                (1, 1, vec![9], 1),
                (3, 40, vec![7], 1),
                (3, 40, vec![8, 8], 6),
            ]
        );
    }
}

#[test]
fn sections_of_different_byte_order_stand_in_one_file() {
    let both = [rich(false), rich(true)].concat();
    let (seen, names, error) = packets(&both);
    assert!(error.is_none(), "{error:?}");
    assert_eq!((seen.len(), names.len()), (12, 8));
    assert_eq!(
        seen[6].0, 5,
        "the fifth file-wide interface is the second section pair's eth1"
    );
}

#[test]
fn snapped_packets_are_told_apart() {
    let file = rich(false);
    let mut reader = Reader::new(&file[..]).expect("a capture");
    let mut snapped = Vec::new();
    while let Some((record, _)) = reader.read_record().expect("whole") {
        snapped.push(record.is_snapped());
    }
    assert_eq!(snapped, [false, true, false, false, false, true]);
}

#[test]
fn every_truncation_ends_cleanly_or_with_an_error_that_names_the_place() {
    for file in [classic(false, 0xa1b2_c3d4), rich(false), rich(true)] {
        let (whole, _, _) = packets(&file);
        let mut clean_ends = 0;
        for len in 0..file.len() {
            let (seen, _, error) = packets(&file[..len]);
            assert_eq!(seen[..], whole[..seen.len()], "cut at {len}");
            match error {
                None => clean_ends += 1,
                Some(e) => {
                    assert_eq!(e.packet, seen.len() as u64, "cut at {len}: {e}");
                    assert!(e.offset <= len as u64);
                    let truncated =
                        matches!(e.problem, Problem::Truncated { .. } | Problem::NotACapture);
                    assert!(truncated, "cut at {len}: {e}");
                }
            }
        }
        assert!(clean_ends >= 2, "a file may end between two packets");
    }
}

#[test]
fn a_broken_file_is_refused_with_packet_and_byte() {
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = File::new(false);
        file.section().interface("e", Some(9), 0, 0);
        file.enhanced(0, 1, &[1; 4], 4).enhanced(0, 2, &[2; 4], 4);
        change(&mut file.bytes);
        packets(&file.bytes)
            .2
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    let last = |file: &Vec<u8>| file.len() - 36;
    let set = |at: usize, value: u32| {
        move |file: &mut Vec<u8>| {
            let at = last(file) + at;
            file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    };
    let place = "packet 1, byte 116: ";
    assert_eq!(
        broken(&set(4, 37)),
        format!("{place}block of type 0x6 with length 37: too short, or no multiple of 4")
    );
    assert_eq!(
        broken(&set(4, 28)),
        format!("{place}block of type 0x6 with length 28: too short, or no multiple of 4")
    );
    assert_eq!(
        broken(&set(4, 0xffff_fffc)),
        format!("{place}length 4294967292, allowed up to 16777216")
    );
    assert_eq!(
        broken(&set(4, 1 << 20)),
        format!("{place}the file ends after 36 of 1048576 bytes: it is truncated")
    );
    assert_eq!(
        broken(&set(32, 40)),
        format!("{place}block length 36 at its start, 40 at its end")
    );
    assert_eq!(
        broken(&set(8, 7)),
        format!("{place}interface 7, but the section has described 1")
    );
    assert_eq!(
        broken(&set(20, 5)),
        format!("{place}5 captured bytes in a block with room for 4")
    );
    assert_eq!(
        broken(&set(0, 0x0a0d_0d0a)),
        format!("{place}byte-order magic 0x00000000, allowed 0x1a2b3c4d in either byte order")
    );
    assert_eq!(
        broken(&|file| file[0] = 1),
        "packet 0, byte 0: not a capture: allowed are pcap and pcapng"
    );
    assert_eq!(
        broken(&|file| file[12] = 2),
        "packet 0, byte 0: version 2.0 of the format; known are pcap 2 and pcapng 1"
    );

    let mut long = classic(false, 0xa1b2_c3d4);
    long[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = packets(&long).2.expect("refused").to_string();
    assert_eq!(
        error,
        "packet 0, byte 24: length 4294967295, allowed up to 262144"
    );
}

#[test]
fn after_an_error_nothing_more_is_read() {
    let mut file = rich(false);
    file.truncate(file.len() - 1);
    let mut reader = Reader::new(&file[..]).expect("a capture");
    while !matches!(reader.read_record(), Err(_) | Ok(None)) {}
    assert_eq!(reader.read_record().expect("no second error"), None);
}
