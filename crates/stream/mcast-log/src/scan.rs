//! Reading one segment, also while it is written, and also if it is damaged.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{KeyEpoch, MessageNumber, TAG_LENGTH};

use crate::error::{FileOperation, LogError};
use crate::files::{Files, LogFile};
use crate::format::SegmentSeal;
use crate::format::{
    HeaderError, IndexBuilder, MAX_SEALED_BODY, RECORD_HEAD, RecordError, RecordHead, RecordKind,
    SegmentHeader, SegmentIndex, SegmentName, authenticated,
};

/// How much is read at once.
const CHUNK: usize = 1 << 18;
/// How many times the rest of a segment is checked, at most, in a search for the next record, so that a segment that
/// was made to be slow is not.
const MOST_CHECKS: u64 = 16;

/// A write that a signal or a full disk ends has filled whole pages: those of the system's cache, and blocks of disks, are
/// multiples of this.
const WRITE_UNIT: u64 = 4096;

/// What is at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A record.
    Record(RecordHead),
    /// The end of the file.
    End,
    /// Bytes that are not a record: damaged, or the beginning of one that is being written.
    Damaged,
}

/// What [`Scanner::survey`] finds.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The index, whose length is that of the segment up to the end of the last record.
    pub(crate) index: SegmentIndex,
    /// The number of damaged bytes between records.
    pub(crate) damaged: u64,
    /// The number of bytes behind the last record.
    pub(crate) behind: u64,
    /// Whether those are the beginning of one record, whose write was ended.
    pub(crate) is_unfinished: bool,
}

/// Reads a segment. Its memory is bounded by the longest record.
#[derive(Debug)]
pub(crate) struct Scanner {
    file: Arc<dyn LogFile>,
    header: SegmentHeader,
    buffer: Vec<u8>,
    /// Where the buffer begins in the segment.
    start: u64,
    /// How much of it is filled.
    filled: usize,
}

impl Scanner {
    /// Opens a segment. `None` if it does not exist any more.
    pub(crate) fn open(files: &dyn Files, name: &SegmentName) -> Result<Option<Self>, LogError> {
        let file_name = name.segment_file();
        let path = || files.path(&file_name);
        let file = match files.open(&file_name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io(FileOperation::Open, path())(error)),
        };
        let bytes = read_prefix(&*file, SegmentHeader::LONGEST);
        let bytes = bytes.map_err(LogError::io(FileOperation::Read, path()))?;
        let header = SegmentHeader::read(&bytes);
        let header = header.map_err(|cause| LogError::Header { path: path(), cause })?;
        if header.name() != *name {
            return Err(LogError::Header { path: path(), cause: HeaderError::Renamed });
        }
        Ok(Some(Self { file, header, buffer: Vec::new(), start: 0, filled: 0 }))
    }

    /// Returns what opens the records; `None` if they are not sealed.
    pub(crate) fn seal(&self, keys: &Keys, path: &Path) -> Result<Option<SegmentSeal>, LogError> {
        match self.header.epoch {
            KeyEpoch::CLEAR => Ok(None),
            epoch => SegmentSeal::new(keys, &self.header)
                .map(Some)
                .ok_or_else(|| LogError::NoKey { path: path.to_owned(), epoch }),
        }
    }

    /// Returns whether the keys open the first record; `None` if there is none, or it is not sealed.
    pub(crate) fn opens_first(&mut self, keys: &Keys, path: &Path) -> Result<Option<bool>, LogError> {
        let Some(mut seal) = self.seal(keys, path)? else { return Ok(None) };
        let at = self.header.len() as u64;
        let first = self.parse(at).map_err(LogError::io(FileOperation::Read, path.to_owned()))?;
        let Parsed::Record(head) = first else { return Ok(None) };
        Ok(Some(self.open_body(at, &head, Some(&mut seal), &mut Vec::new())))
    }

    pub(crate) const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) fn file_length(&self) -> io::Result<u64> {
        self.file.length()
    }

    /// Forgets what was read before, because the file may have changed.
    pub(crate) fn forget(&mut self) {
        self.filled = 0;
    }

    pub(crate) fn parse(&mut self, offset: u64) -> io::Result<Parsed> {
        let mut needed = RECORD_HEAD;
        loop {
            let available = self.fill(offset, needed)?;
            if available == 0 {
                return Ok(Parsed::End);
            }
            let is_sealed = self.header.epoch != KeyEpoch::CLEAR;
            match RecordHead::read(self.at(offset), self.header.salt, offset, is_sealed) {
                Ok(head) => return Ok(Parsed::Record(head)),
                Err(RecordError::Short(more)) if more > needed && more <= RECORD_HEAD + MAX_SEALED_BODY => {
                    // The length may be damaged: memory is only taken for what the file has.
                    if more > CHUNK && self.file.length()?.saturating_sub(offset) < more as u64 {
                        return Ok(Parsed::Damaged);
                    }
                    needed = more;
                }
                Err(_) => return Ok(Parsed::Damaged),
            }
        }
    }

    /// Returns the bytes of the record that was parsed at this offset.
    fn record(&self, offset: u64, head: &RecordHead) -> &[u8] {
        self.at(offset).get(..head.len()).unwrap_or_default()
    }

    /// Opens the seal of the record that was parsed at this offset, into `opened`. Returns whether it opens; true if
    /// there is none.
    pub(crate) fn open_body(
        &self,
        offset: u64,
        head: &RecordHead,
        seal: Option<&mut SegmentSeal>,
        opened: &mut Vec<u8>,
    ) -> bool {
        let Some(seal) = seal else { return true };
        opened.clear();
        opened.extend_from_slice(self.body(offset, head));
        let is_open = seal.open(offset, authenticated(self.record(offset, head)), opened);
        opened.truncate(opened.len().saturating_sub(TAG_LENGTH));
        is_open
    }

    /// Returns the body of the record that was parsed at this offset.
    pub(crate) fn body(&self, offset: u64, head: &RecordHead) -> &[u8] {
        self.record(offset, head).get(RECORD_HEAD..).unwrap_or_default()
    }

    /// Returns where the gap ends whose record was parsed at this offset.
    fn gap_end(
        &self,
        offset: u64,
        head: &RecordHead,
        seal: Option<&mut SegmentSeal>,
    ) -> Option<MessageNumber> {
        let (is_sealed, mut opened) = (seal.is_some(), Vec::new());
        let is_open = self.open_body(offset, head, seal, &mut opened);
        let body = if is_sealed { &opened } else { self.body(offset, head) };
        let record = head.content(self.header.first.incarnation, body).filter(|_| is_open)?;
        Some(record.end().number)
    }

    /// Reads all records, and returns the index of the segment. The keys are used for gaps only; without any, the index
    /// does not know where a sealed gap ends.
    pub(crate) fn survey(&mut self, keys: Option<&Keys>, path: &Path) -> Result<Survey, LogError> {
        let fail = |error| LogError::io(FileOperation::Read, path.to_owned())(error);
        let (mut index, mut next) = (IndexBuilder::default(), self.header.first.number);
        let (mut at, mut end, mut damaged) = (self.header.len() as u64, self.header.len() as u64, 0);
        let length = self.file.length().map_err(fail)?;
        loop {
            match self.parse(at).map_err(fail)? {
                Parsed::Record(head) if head.number >= next => {
                    next = match head.kind {
                        RecordKind::Gap => {
                            let mut seal = keys.map_or(Ok(None), |keys| self.seal(keys, path))?;
                            self.gap_end(at, &head, seal.as_mut()).unwrap_or(head.number)
                        }
                        _ if head.is_message() => MessageNumber(head.number.0.saturating_add(1)),
                        _ => head.number,
                    };
                    index.note(at, head.number, head.time);
                    damaged += at - end;
                    at += head.len() as u64;
                    end = at;
                }
                Parsed::End => break,
                Parsed::Record(_) | Parsed::Damaged => match self.search(at + 1, next).map_err(fail)? {
                    Some(found) => at = found,
                    None => break,
                },
            }
        }
        let is_unfinished = self.is_unfinished(end, length, next).map_err(fail)?;
        Ok(Survey {
            index: index.index(self.header.salt, end, next),
            damaged,
            behind: length.saturating_sub(end),
            is_unfinished,
        })
    }

    /// Returns whether a segment of this length ends with the beginning of the record with this number, as a process
    /// leaves it that is killed while it writes: all that is there is as it was to be, and the rest is missing. Bytes that
    /// were written and then lost or damaged rarely end with a page.
    fn is_unfinished(&mut self, offset: u64, length: u64, next: MessageNumber) -> io::Result<bool> {
        if length <= offset || !length.is_multiple_of(WRITE_UNIT) {
            return Ok(false);
        }
        self.fill(offset, RECORD_HEAD)?;
        let is_sealed = self.header.epoch != KeyEpoch::CLEAR;
        Ok(RecordHead::is_beginning(self.at(offset), self.header.salt, length - offset, is_sealed, next))
    }

    /// Reads some bytes.
    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    /// Searches for the next record from this offset on, with this number or a greater one.
    pub(crate) fn search(&mut self, from: u64, least: MessageNumber) -> io::Result<Option<u64>> {
        let mark = crate::format::mark(self.header.salt);
        let mut checks = self.file.length()?.saturating_sub(from).saturating_mul(MOST_CHECKS);
        let mut at = from;
        while self.fill(at, mark.len())? >= mark.len() {
            let window = self.at(at);
            match window.windows(mark.len()).position(|bytes| bytes == mark) {
                None => at += (window.len() - mark.len() + 1) as u64,
                Some(distance) => {
                    at += distance as u64;
                    if let Parsed::Record(head) = self.parse(at)?
                        && head.number >= least
                    {
                        return Ok(Some(at));
                    }
                    // What the buffer has from there on is at least what was checked.
                    let Some(left) = checks.checked_sub(self.at(at).len() as u64) else { return Ok(None) };
                    checks = left;
                    at += 1;
                }
            }
        }
        Ok(None)
    }

    /// Returns what the buffer has from this offset on.
    fn at(&self, offset: u64) -> &[u8] {
        let filled = self.buffer.get(..self.filled).unwrap_or_default();
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| filled.get(skip..)).unwrap_or_default()
    }

    /// Reads until the buffer has this many bytes from the offset on, or all that the file has; returns how many.
    fn fill(&mut self, offset: u64, needed: usize) -> io::Result<usize> {
        let available = self.at(offset).len();
        if available >= needed {
            return Ok(available);
        }
        let kept = self.filled - available..self.filled;
        self.buffer.copy_within(kept, 0);
        (self.start, self.filled) = (offset, available);
        if self.buffer.len() < needed.max(CHUNK) {
            self.buffer.resize(needed.max(CHUNK), 0);
        }
        while self.filled < needed {
            let free = &mut self.buffer[self.filled..];
            match self.file.read_at(offset + self.filled as u64, free) {
                Ok(0) => break,
                Ok(count) => self.filled += count.min(free.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.filled)
    }
}

/// Reads at most this much from the beginning of a file.
pub(crate) fn read_prefix(file: &dyn LogFile, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(filled as u64, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
