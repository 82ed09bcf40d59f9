//! Classic pcap: a file header, then records (the format `tcpdump -w` writes).

use std::io::Read;

use crate::byte_order::ByteOrder;
use crate::input::Input;
use crate::reader::{Found, present};
use crate::timestamp::Clock;
use crate::{Interface, Problem};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// libpcap's own limit for a captured packet.
const LONGEST_PACKET: u32 = 262_144;

/// What the file header says.
pub(crate) struct Classic {
    order: ByteOrder,
    nanos_per_tick: u64,
}

impl Classic {
    /// Reads the file header, if the file is of this format.
    pub(crate) fn open<R: Read>(
        input: &mut Input<R>,
        interfaces: &mut Vec<Interface>,
    ) -> Result<Option<Classic>, Problem> {
        let (order, nanos_per_tick) = match input.peek(4)? {
            [0xd4, 0xc3, 0xb2, 0xa1] => (ByteOrder::Little, 1000),
            [0xa1, 0xb2, 0xc3, 0xd4] => (ByteOrder::Big, 1000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (ByteOrder::Little, 1),
            [0xa1, 0xb2, 0x3c, 0x4d] => (ByteOrder::Big, 1),
            _ => return Ok(None),
        };
        let header = present(input, FILE_HEADER)?;
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        if major != 2 {
            return Err(Problem::Version { major, minor });
        }
        interfaces.push(Interface {
            name: None,
            // The upper half tells of frame check sequences.
            link_type: order.u32(header, 20) as u16,
            snap_len: order.u32(header, 16),
        });
        input.take(FILE_HEADER);
        Ok(Some(Classic {
            order,
            nanos_per_tick,
        }))
    }

    /// Finds the next packet.
    pub(crate) fn next<R: Read>(&self, input: &mut Input<R>) -> Result<Option<Found>, Problem> {
        if input.peek(1)?.is_empty() {
            return Ok(None);
        }
        let header = present(input, RECORD_HEADER)?;
        let field = |at| self.order.u32(header, at);
        let (seconds, ticks, captured, original_len) = (field(0), field(4), field(8), field(12));
        if captured > LONGEST_PACKET {
            return Err(Problem::TooLong {
                length: captured,
                allowed: LONGEST_PACKET,
            });
        }
        let len = captured as usize;
        present(input, RECORD_HEADER + len)?;
        // The fraction can pass a second in broken files; it still is a time.
        let time = Clock::MICROSECONDS
            .with_resolution(9)
            .time(u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * self.nanos_per_tick)?;
        Ok(Some(Found {
            interface: 0,
            time,
            start: RECORD_HEADER,
            len,
            original_len,
            block_len: RECORD_HEADER + len,
        }))
    }
}
