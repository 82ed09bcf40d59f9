//! Writes a capture as pcapng.

use std::io::{self, Write};

use crate::{Interface, Record};

/// Writes pcapng: little-endian, nanoseconds, one section.
///
/// The file holds nothing but what it was told, no time of its own and no name of a machine or program, so the same
/// calls give the same bytes. Every call writes at once: give it a [`BufWriter`](io::BufWriter) over a file.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    interfaces: usize,
    block: Vec<u8>,
}

/// `if_tsresol`: timestamps count 10^-9 s.
const NANOSECONDS: u8 = 9;

const OPTION_COMMENT: u16 = 1;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new(output: W) -> io::Result<Writer<W>> {
        let mut writer = Writer {
            output,
            interfaces: 0,
            block: Vec::new(),
        };
        writer.begin(0x0a0d_0d0a);
        writer.u32(0x1a2b_3c4d);
        writer.u16(1);
        writer.u16(0);
        // The section's length is not known yet.
        writer.block.extend(u64::MAX.to_le_bytes());
        writer.finish()?;
        Ok(writer)
    }

    /// Adds an interface; its number for [`Record::interface`].
    pub fn add_interface(&mut self, interface: &Interface) -> io::Result<usize> {
        self.begin(1);
        self.u16(interface.link_type);
        self.u16(0);
        self.u32(interface.snap_len);
        if let Some(name) = &interface.name {
            self.option(OPTION_IF_NAME, name.as_bytes());
        }
        self.option(OPTION_IF_TSRESOL, &[NANOSECONDS]);
        self.end_of_options();
        self.finish()?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Writes a packet, with a comment that Wireshark shows beside it.
    ///
    /// A comment of more than 65535 bytes is cut.
    pub fn write(&mut self, record: &Record<'_>, comment: Option<&str>) -> io::Result<()> {
        if record.interface >= self.interfaces {
            let text = format!("interface {} of {}", record.interface, self.interfaces);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let captured = u32::try_from(record.bytes.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a packet of 4 GiB"))?;
        let ticks = record.time.as_nanos();
        self.begin(6);
        self.u32(record.interface as u32);
        self.u32((ticks >> 32) as u32);
        self.u32(ticks as u32);
        self.u32(captured);
        self.u32(record.original_len);
        self.block.extend(record.bytes);
        self.pad();
        if let Some(comment) = comment {
            let fits = comment.floor_char_boundary(usize::from(u16::MAX));
            self.option(OPTION_COMMENT, &comment.as_bytes()[..fits]);
            self.end_of_options();
        }
        self.finish()
    }

    /// Hands on what the output still buffers.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The output, to take away what was written.
    pub fn output_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// The output, as it is.
    pub fn into_inner(self) -> W {
        self.output
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        // The length, known at the end.
        self.u32(0);
    }

    fn finish(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len() + 4)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a block of 4 GiB"))?;
        self.u32(length);
        self.block[4..8].copy_from_slice(&length.to_le_bytes());
        self.output.write_all(&self.block)
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let fits = value.len().min(usize::from(u16::MAX));
        self.u16(code);
        self.u16(fits as u16);
        self.block.extend(&value[..fits]);
        self.pad();
    }

    fn end_of_options(&mut self) {
        self.u32(0);
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn u16(&mut self, number: u16) {
        self.block.extend(number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.block.extend(number.to_le_bytes());
    }
}
