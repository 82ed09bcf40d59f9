//! pcapng: blocks in sections (the format Wireshark and `dumpcap` write; draft-ietf-opsawg-pcapng).

use std::io::Read;

use lb_model::Time;

use crate::byte_order::ByteOrder;
use crate::input::Input;
use crate::reader::{Found, present};
use crate::timestamp::Clock;
use crate::{Interface, Problem};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type and length, before the body of every block.
const BLOCK_START: usize = 8;
/// The length again, after it.
const BLOCK_END: usize = 4;

/// A block that is looked into may not be longer: sixty times the longest packet libpcap captures.
const LONGEST_BLOCK: u32 = 16 * 1024 * 1024;

const OPTION_END: u16 = 0;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
const OPTION_IF_TSOFFSET: u16 = 14;

/// The section that is being read.
pub(crate) struct Section {
    order: ByteOrder,
    /// Where the section's interface 0 stands among those of the whole file.
    first_interface: usize,
    /// One for each interface of the section.
    clocks: Vec<Clock>,
    /// Of the packet before; a simple packet has none of its own.
    last_time: Time,
}

impl Section {
    /// Reads the first section header, if the file is of this format.
    pub(crate) fn open<R: Read>(input: &mut Input<R>) -> Result<Option<Section>, Problem> {
        if input.peek(4)? != SECTION_HEADER.to_le_bytes() {
            return Ok(None);
        }
        let mut section = Section {
            order: ByteOrder::Little,
            first_interface: 0,
            clocks: Vec::new(),
            last_time: Time::ZERO,
        };
        section.read_header(input, 0)?;
        Ok(Some(section))
    }

    /// Finds the next packet, reading all blocks before it.
    pub(crate) fn next<R: Read>(
        &mut self,
        input: &mut Input<R>,
        interfaces: &mut Vec<Interface>,
    ) -> Result<Option<Found>, Problem> {
        loop {
            if input.peek(1)?.is_empty() {
                return Ok(None);
            }
            let start = present(input, BLOCK_START)?;
            let (kind, length) = (self.order.u32(start, 0), self.order.u32(start, 4));
            match kind {
                SECTION_HEADER => self.read_header(input, interfaces.len())?,
                INTERFACE_DESCRIPTION => self.read_interface(input, length, interfaces)?,
                ENHANCED_PACKET | OBSOLETE_PACKET => {
                    return self.timed_packet(input, kind, length).map(Some);
                }
                SIMPLE_PACKET => return self.simple_packet(input, length, interfaces).map(Some),
                _ => self.skip_block(input, kind, length)?,
            }
        }
    }

    /// A section header: from here on another byte order may hold, and interfaces count from 0 again.
    fn read_header<R: Read>(
        &mut self,
        input: &mut Input<R>,
        first_interface: usize,
    ) -> Result<(), Problem> {
        const FIXED_BODY: usize = 16;
        let start = present(input, BLOCK_START + 4)?;
        self.order = match ByteOrder::Big.u32(start, BLOCK_START) {
            0x1a2b_3c4d => ByteOrder::Big,
            0x4d3c_2b1a => ByteOrder::Little,
            other => return Err(Problem::ByteOrder(other)),
        };
        let length = self.order.u32(start, 4);
        let body = self.block(input, SECTION_HEADER, length, FIXED_BODY)?;
        let (major, minor) = (self.order.u16(body, 4), self.order.u16(body, 6));
        if major != 1 {
            return Err(Problem::Version { major, minor });
        }
        input.take(length as usize);
        self.first_interface = first_interface;
        self.clocks.clear();
        Ok(())
    }

    fn read_interface<R: Read>(
        &mut self,
        input: &mut Input<R>,
        length: u32,
        interfaces: &mut Vec<Interface>,
    ) -> Result<(), Problem> {
        const FIXED_BODY: usize = 8;
        let order = self.order;
        let body = self.block(input, INTERFACE_DESCRIPTION, length, FIXED_BODY)?;
        let mut interface = Interface {
            name: None,
            link_type: order.u16(body, 0),
            snap_len: order.u32(body, 4),
        };
        let mut clock = Clock::MICROSECONDS;
        for (code, value) in options(order, &body[FIXED_BODY..]) {
            match (code, value) {
                (OPTION_IF_NAME, name) => {
                    interface.name = Some(String::from_utf8_lossy(name).into_owned());
                }
                (OPTION_IF_TSRESOL, [resolution]) => clock = clock.with_resolution(*resolution),
                (OPTION_IF_TSOFFSET, offset) if offset.len() == 8 => {
                    clock = clock.with_offset(order.i64(offset, 0));
                }
                _ => {}
            }
        }
        input.take(length as usize);
        interfaces.push(interface);
        self.clocks.push(clock);
        Ok(())
    }

    /// An enhanced packet, or its forerunner, which has 16 bits for the interface and a drop count beside it.
    fn timed_packet<R: Read>(
        &mut self,
        input: &mut Input<R>,
        kind: u32,
        length: u32,
    ) -> Result<Found, Problem> {
        const FIXED_BODY: usize = 20;
        let order = self.order;
        let body = self.block(input, kind, length, FIXED_BODY)?;
        let interface = match kind {
            OBSOLETE_PACKET => u32::from(order.u16(body, 0)),
            _ => order.u32(body, 0),
        };
        let ticks = u64::from(order.u32(body, 4)) << 32 | u64::from(order.u32(body, 8));
        let (captured, original_len) = (order.u32(body, 12), order.u32(body, 16));
        let room = body.len() - FIXED_BODY;
        let Some(clock) = self.clocks.get(interface as usize) else {
            return Err(Problem::UnknownInterface {
                interface,
                known: self.clocks.len(),
            });
        };
        if captured as usize > room {
            return Err(Problem::CapturedLength { captured, room });
        }
        self.last_time = clock.time(ticks)?;
        Ok(Found {
            interface: self.first_interface + interface as usize,
            time: self.last_time,
            start: BLOCK_START + FIXED_BODY,
            len: captured as usize,
            original_len,
            block_len: length as usize,
        })
    }

    /// A packet of interface 0 with neither a time nor a captured length: it is as long as the interface's snap length
    /// allows, and as late as the packet before it.
    fn simple_packet<R: Read>(
        &mut self,
        input: &mut Input<R>,
        length: u32,
        interfaces: &[Interface],
    ) -> Result<Found, Problem> {
        const FIXED_BODY: usize = 4;
        let order = self.order;
        let body = self.block(input, SIMPLE_PACKET, length, FIXED_BODY)?;
        let original_len = order.u32(body, 0);
        let room = body.len() - FIXED_BODY;
        let snap_len = match interfaces.get(self.first_interface) {
            None => {
                return Err(Problem::UnknownInterface {
                    interface: 0,
                    known: 0,
                });
            }
            Some(Interface { snap_len: 0, .. }) => u32::MAX,
            Some(interface) => interface.snap_len,
        };
        let captured = original_len.min(snap_len);
        if captured as usize > room {
            return Err(Problem::CapturedLength { captured, room });
        }
        Ok(Found {
            interface: self.first_interface,
            time: self.last_time,
            start: BLOCK_START + FIXED_BODY,
            len: captured as usize,
            original_len,
            block_len: length as usize,
        })
    }

    /// The body of the block that comes next, which has at least `fixed` bytes; nothing is taken yet.
    fn block<'i, R: Read>(
        &self,
        input: &'i mut Input<R>,
        kind: u32,
        length: u32,
        fixed: usize,
    ) -> Result<&'i [u8], Problem> {
        check_length(kind, length, fixed)?;
        if length > LONGEST_BLOCK {
            return Err(Problem::TooLong {
                length,
                allowed: LONGEST_BLOCK,
            });
        }
        let block = present(input, length as usize)?;
        let end = block.len() - BLOCK_END;
        check_end(length, self.order.u32(block, end))?;
        Ok(&block[BLOCK_START..end])
    }

    /// A block that says nothing about packets: name resolution, statistics, secrets, somebody's own.
    fn skip_block<R: Read>(
        &self,
        input: &mut Input<R>,
        kind: u32,
        length: u32,
    ) -> Result<(), Problem> {
        check_length(kind, length, 0)?;
        let to_end = u64::from(length) - BLOCK_END as u64;
        let skipped = input.skip(to_end)?;
        let end = input.peek(BLOCK_END)?;
        if end.len() < BLOCK_END {
            return Err(Problem::Truncated {
                wanted: length.into(),
                present: skipped + end.len() as u64,
            });
        }
        check_end(length, self.order.u32(end, 0))?;
        input.take(BLOCK_END);
        Ok(())
    }
}

fn check_length(kind: u32, length: u32, fixed: usize) -> Result<(), Problem> {
    let fits = length as usize >= BLOCK_START + fixed + BLOCK_END && length.is_multiple_of(4);
    if fits {
        Ok(())
    } else {
        Err(Problem::BlockLength { kind, length })
    }
}

fn check_end(start: u32, end: u32) -> Result<(), Problem> {
    if start == end {
        Ok(())
    } else {
        Err(Problem::BlockEnd { start, end })
    }
}

/// The options of a block, as far as they are well formed; none of them is needed to find the next block.
fn options(order: ByteOrder, mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let (code, len) = (order.u16(bytes, 0), usize::from(order.u16(bytes, 2)));
        let value = bytes.get(4..4 + len)?;
        bytes = bytes.get((4 + len).next_multiple_of(4)..).unwrap_or(&[]);
        (code != OPTION_END).then_some((code, value))
    })
}
