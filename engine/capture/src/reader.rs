//! Reads a capture packet by packet.

use std::fmt;
use std::io::Read;

use lb_model::Time;

use crate::classic::Classic;
use crate::input::Input;
use crate::pcapng::Section;
use crate::{CaptureError, Interface, Problem, Record};

/// Reads a capture, classic pcap or pcapng, from its first byte on.
///
/// It buffers by itself and allocates only when it meets a new interface.
pub struct Reader<R> {
    input: Input<R>,
    format: Format,
    interfaces: Vec<Interface>,
    packets: u64,
    failed: bool,
}

enum Format {
    Classic(Classic),
    Pcapng(Section),
}

/// Where in the block that comes next the packet is.
pub(crate) struct Found {
    pub(crate) interface: usize,
    pub(crate) time: Time,
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) original_len: u32,
    pub(crate) block_len: usize,
}

impl<R: Read> Reader<R> {
    /// Reads the file header and so learns the format.
    pub fn new(source: R) -> Result<Reader<R>, CaptureError> {
        let mut input = Input::new(source);
        let mut interfaces = Vec::new();
        match open(&mut input, &mut interfaces) {
            Ok(format) => Ok(Reader {
                input,
                format,
                interfaces,
                packets: 0,
                failed: false,
            }),
            Err(problem) => Err(CaptureError {
                packet: 0,
                offset: 0,
                problem,
            }),
        }
    }

    /// The next packet with the interfaces described up to it, its own among them; `None` at the end of the file. After
    /// an error there is nothing more to be had.
    pub fn read_record(&mut self) -> Result<Option<(Record<'_>, &[Interface])>, CaptureError> {
        if self.failed {
            return Ok(None);
        }
        let found = match &mut self.format {
            Format::Classic(file) => file.next(&mut self.input),
            Format::Pcapng(section) => section.next(&mut self.input, &mut self.interfaces),
        };
        match found {
            Ok(None) => Ok(None),
            Ok(Some(found)) => {
                self.packets += 1;
                let block = self.input.take(found.block_len);
                let record = Record {
                    interface: found.interface,
                    time: found.time,
                    bytes: &block[found.start..found.start + found.len],
                    original_len: found.original_len,
                };
                Ok(Some((record, &self.interfaces)))
            }
            Err(problem) => {
                self.failed = true;
                Err(CaptureError {
                    packet: self.packets,
                    offset: self.input.offset(),
                    problem,
                })
            }
        }
    }

    /// The interfaces met so far, those of all sections in one list; a pcapng file may introduce one at any place before
    /// its first packet.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// How many bytes of the file are behind the last packet read, for who shows progress.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Reader {{ packets: {}, interfaces: {:?} }}",
            self.packets, self.interfaces
        )
    }
}

fn open<R: Read>(input: &mut Input<R>, interfaces: &mut Vec<Interface>) -> Result<Format, Problem> {
    if let Some(file) = Classic::open(input, interfaces)? {
        return Ok(Format::Classic(file));
    }
    match Section::open(input)? {
        Some(section) => Ok(Format::Pcapng(section)),
        None => Err(Problem::NotACapture),
    }
}

/// The next `want` bytes, all of them.
pub(crate) fn present<R: Read>(input: &mut Input<R>, want: usize) -> Result<&[u8], Problem> {
    let bytes = input.peek(want)?;
    if bytes.len() < want {
        return Err(Problem::Truncated {
            wanted: want as u64,
            present: bytes.len() as u64,
        });
    }
    Ok(bytes)
}
