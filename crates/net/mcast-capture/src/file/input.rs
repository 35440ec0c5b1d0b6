//! Buffered input that holds at least the current record.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use flate2::read::MultiGzDecoder;

/// A buffer in front of a reader.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// The range of bytes in the buffer that have been read and not consumed.
    unconsumed: Range<usize>,
    /// The position of the unconsumed bytes in the file.
    offset: u64,
}

impl Input {
    /// Longer records are rejected: their length field is corrupt, and buffering them would exhaust memory.
    pub(super) const MAX_RECORD_BYTES: usize = 16 << 20;

    const INITIAL_BUFFER_BYTES: usize = 256 << 10;

    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, buffer: vec![0; Self::INITIAL_BUFFER_BYTES], unconsumed: 0..0, offset: 0 }
    }

    /// Returns the same input, decompressed if it begins as a gzip file does.
    pub(super) fn decompressed(mut self) -> io::Result<Self> {
        const GZIP: [u8; 2] = [0x1f, 0x8b];
        self.need(GZIP.len())?;
        if !self.unconsumed().starts_with(&GZIP) {
            return Ok(self);
        }
        let begin = io::Cursor::new(self.unconsumed().to_vec());
        Ok(Self::new(Box::new(MultiGzDecoder::new(begin.chain(self.reader)))))
    }

    /// Returns the position of the next record in the file.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the bytes that have been read and not consumed.
    pub(super) fn unconsumed(&self) -> &[u8] {
        self.buffer.get(self.unconsumed.clone()).unwrap_or_default()
    }

    /// Reads until `count` bytes are available or the file ends, and returns whether they are available.
    pub(super) fn need(&mut self, count: usize) -> io::Result<bool> {
        while self.unconsumed.len() < count {
            if !self.read_more(count)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Consumes `count` bytes, and returns their range in the buffer, which is valid until the next call.
    pub(super) fn consume(&mut self, count: usize) -> Range<usize> {
        let start = self.unconsumed.start;
        let end = self.unconsumed.end.min(start + count);
        self.unconsumed.start = end;
        self.offset += (end - start) as u64;
        start..end
    }

    /// Returns bytes consumed by [`Self::consume`].
    pub(super) fn consumed(&self, index: Range<usize>) -> &[u8] {
        self.buffer.get(index).unwrap_or_default()
    }

    /// Calls the reader once, after making room for `count` bytes; returns `false` at the end.
    fn read_more(&mut self, count: usize) -> io::Result<bool> {
        if self.unconsumed.start + count > self.buffer.len() {
            self.buffer.copy_within(self.unconsumed.clone(), 0);
            self.unconsumed = 0..self.unconsumed.len();
            self.buffer.resize(self.buffer.len().max(count), 0);
        }
        let room = self.buffer.get_mut(self.unconsumed.end..).unwrap_or_default();
        loop {
            match self.reader.read(room) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.unconsumed.end += length;
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
        let (offset, unconsumed) = (self.offset, &self.unconsumed);
        f.debug_struct("Input")
            .field("offset", &offset)
            .field("unconsumed", unconsumed)
            .finish_non_exhaustive()
    }
}
