//! The bytes of a file, as many as the record at hand needs.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

/// A window on what is read.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Where in the buffer the bytes are that have been read and not yet used.
    unused: Range<usize>,
    /// Where in the file the unused bytes start.
    offset: u64,
}

impl Input {
    /// The longest record that is believed: more would be a length field gone wrong, and fill the memory.
    pub(super) const LONGEST_RECORD: usize = 16 << 20;

    const FIRST_BUFFER: usize = 256 << 10;

    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, buffer: vec![0; Self::FIRST_BUFFER], unused: 0..0, offset: 0 }
    }

    /// Where in the file the next record starts.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// What has been read and not yet used.
    pub(super) fn unused(&self) -> &[u8] {
        self.buffer.get(self.unused.clone()).unwrap_or_default()
    }

    /// Reads until so many bytes are there, or the file ends; says whether they are.
    pub(super) fn need(&mut self, count: usize) -> io::Result<bool> {
        while self.unused.len() < count {
            if !self.read_more(count)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes on behind so many bytes, and says where in the buffer they are until the next call.
    pub(super) fn consume(&mut self, count: usize) -> Range<usize> {
        let start = self.unused.start;
        let end = self.unused.end.min(start + count);
        self.unused.start = end;
        self.offset += (end - start) as u64;
        start..end
    }

    /// Bytes that [`Self::consume`] has told of.
    pub(super) fn consumed(&self, place: Range<usize>) -> &[u8] {
        self.buffer.get(place).unwrap_or_default()
    }

    /// One call to the reader, with room for so many bytes made first; `false` at the end.
    fn read_more(&mut self, count: usize) -> io::Result<bool> {
        if self.unused.start + count > self.buffer.len() {
            self.buffer.copy_within(self.unused.clone(), 0);
            self.unused = 0..self.unused.len();
            self.buffer.resize(self.buffer.len().max(count), 0);
        }
        let room = self.buffer.get_mut(self.unused.end..).unwrap_or_default();
        loop {
            match self.reader.read(room) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.unused.end += length;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, unused) = (self.offset, &self.unused);
        f.debug_struct("Input").field("offset", &offset).field("unused", unused).finish_non_exhaustive()
    }
}
