//! A window over the file that grows with what is really there, never with what a length field promises.

use std::io::{self, Read};

/// Large enough for thousands of packets per system call.
const WINDOW: usize = 256 * 1024;

/// The bytes of the file that were read and not yet taken.
pub(crate) struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(source: R) -> Input<R> {
        Input {
            source,
            buffer: vec![0; WINDOW],
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// How far into the file the next untaken byte is.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next `want` bytes, or fewer if the file ends before.
    pub(crate) fn peek(&mut self, want: usize) -> io::Result<&[u8]> {
        while self.end - self.start < want && self.read_more()? {}
        let present = want.min(self.end - self.start);
        Ok(&self.buffer[self.start..self.start + present])
    }

    /// Takes `count` bytes that were peeked.
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let taken = self.start..self.start + count;
        self.start += count;
        self.offset += count as u64;
        &self.buffer[taken]
    }

    /// Takes up to `count` bytes without looking at them; how many there were.
    pub(crate) fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        while left > 0 {
            let step = left.min(WINDOW as u64) as usize;
            let present = self.peek(step)?.len();
            self.take(present);
            left -= present as u64;
            if present < step {
                break;
            }
        }
        Ok(count - left)
    }

    /// Reads once; whether there was anything.
    fn read_more(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
