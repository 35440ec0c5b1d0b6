//! Reads capture files frame by frame, like a live capture.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, CookedKind, LinkType, Packet};

use super::cooked_interfaces::{CookedInterfaces, Numbering};
use super::formats::{FileInterface, ParseOutcome, Pcap, PcapNg, Record, SECTION_HEADER};
use super::{FileError, FileErrorKind};
use crate::{Direction, Frame};

/// A capture file opened for reading: pcap or pcapng, in any byte order and time resolution, compressed by gzip or not.
#[derive(Debug)]
pub struct CaptureFile {
    path: PathBuf,
    input: Input,
    format: Format,
    statistics: FileStatistics,
    cooked: CookedInterfaces,
    /// Whether nothing more can be read.
    ended: bool,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileFormat {
    /// pcap with times in microseconds.
    PcapMicroseconds,
    /// pcap with times in nanoseconds.
    PcapNanoseconds,
    /// pcapng, in which each interface has its own time resolution.
    PcapNg,
}

/// Counts of a file, as far as it has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStatistics {
    /// Frames returned by [`CaptureFile::next`].
    pub frames: u64,
    /// Frames skipped because their link type ([`FileInterface::link`]) cannot be decoded, or because their own link layer
    /// cannot: it is encrypted, say.
    pub skipped: u64,
}

impl CaptureFile {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    /// [`FileErrorKind::System`] when it cannot be opened, [`FileErrorKind::NotACapture`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|os| FileError::from_os("open", path, os))?;
        Self::from_reader(file, path)
    }

    /// Reads from any reader, for example a pipe; errors refer to it as `name`.
    ///
    /// # Errors
    /// [`FileErrorKind::System`] when it cannot be read, [`FileErrorKind::NotACapture`].
    pub fn from_reader(
        reader: impl Read + Send + 'static,
        name: impl AsRef<Path>,
    ) -> Result<Self, FileError> {
        let path = name.as_ref().to_owned();
        let mut input = Input::new(Box::new(reader))
            .decompressed()
            .map_err(|os| FileError::from_os("read", &path, os))?;
        let is_complete =
            input.need(Pcap::HEADER_LENGTH).map_err(|os| FileError::from_os("read", &path, os))?;
        let head = input.unconsumed();
        let format = if head.starts_with(&SECTION_HEADER.to_be_bytes()) {
            Format::PcapNg(PcapNg::new())
        } else if let Some(pcap) = Pcap::new(head).filter(|_| is_complete) {
            input.consume(Pcap::HEADER_LENGTH);
            Format::Pcap(pcap)
        } else {
            return Err(FileError::new("read", &path, FileErrorKind::NotACapture));
        };
        let (statistics, cooked) = (FileStatistics::default(), CookedInterfaces::default());
        Ok(Self { path, input, format, statistics, cooked, ended: false })
    }

    /// Returns the next frame; `None` at the end. Its bytes are valid until the next call.
    ///
    /// # Errors
    /// [`FileErrorKind::Truncated`] and [`FileErrorKind::Malformed`] once, after all frames that could be
    /// read; [`FileErrorKind::System`] when reading fails.
    #[allow(clippy::should_implement_trait)] // The frame is lent, which no iterator can do.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, FileError> {
        let (record, link_type) = loop {
            let Some(record) = self.record()? else { return Ok(None) };
            let link = self.interfaces().get(record.interface).map(|interface| interface.link);
            let frame = self.input.unconsumed().get(record.data.clone()).unwrap_or_default();
            match link.and_then(super::LinkNumber::link_type) {
                Some(link_type) if is_readable(frame, link_type) => break (record, link_type),
                _ => {
                    self.statistics.skipped += 1;
                    self.input.consume(record.length);
                }
            }
        };
        let time = SystemTime::UNIX_EPOCH
            .checked_add(record.time)
            .ok_or_else(|| self.malformed("has a time out of range"))?;
        let range = self.input.consume(record.length);
        let data = range.start + record.data.start..range.start + record.data.end;
        self.statistics.frames += 1;
        let bytes = self.input.consumed(data);
        let (described, numbering) = match &self.format {
            Format::Pcap(pcap) => (Some(&pcap.interface), Numbering::ByIndex),
            Format::PcapNg(pcapng) => (pcapng.interfaces.get(record.interface), Numbering::After),
        };
        let cooked = described
            .filter(|_| link_type == LinkType::LinuxCooked2)
            .and_then(|described| self.cooked.of_frame(bytes, record.interface, described, numbering));
        let (interface, interface_name) = match cooked {
            Some(cooked) => (cooked.number, cooked.name.as_deref()),
            None => {
                let name = described.and_then(|described| described.name.as_deref());
                (interface_index(record.interface), name)
            }
        };
        Ok(Some(Frame {
            bytes,
            original_length: record.original_length.max(bytes.len()),
            link_type,
            interface,
            interface_name,
            direction: match record.direction {
                Direction::Unknown => direction(bytes, link_type),
                recorded => recorded,
            },
            time,
            checksums: Checksums::Computed,
            resegmented: false,
        }))
    }

    /// Returns whether nothing more can be read, because of the end of the file or an error.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.ended
    }

    /// Returns the format of the file.
    #[must_use]
    pub const fn format(&self) -> FileFormat {
        match &self.format {
            Format::Pcap(pcap) if pcap.nanoseconds() => FileFormat::PcapNanoseconds,
            Format::Pcap(_) => FileFormat::PcapMicroseconds,
            Format::PcapNg(_) => FileFormat::PcapNg,
        }
    }

    /// Returns the interfaces that the file has described so far. The first has the number 1 in
    /// [`Frame::interface`].
    #[must_use]
    pub fn interfaces(&self) -> &[FileInterface] {
        match &self.format {
            Format::Pcap(pcap) => std::slice::from_ref(&pcap.interface),
            Format::PcapNg(pcapng) => &pcapng.interfaces,
        }
    }

    /// Returns the description of the interface of a frame. In a capture on all interfaces at once, it is that of all of
    /// them.
    #[must_use]
    pub fn interface(&self, index: InterfaceIndex) -> Option<&FileInterface> {
        if let Some(cooked) = self.cooked.with_number(index) {
            return self.interfaces().get(cooked.described);
        }
        let index = usize::try_from(index.number()).ok()?.checked_sub(1)?;
        self.interfaces().get(index)
    }

    /// Returns the number, name and description of each interface: of those that the file describes, and of those that frames
    /// of a capture on all interfaces at once have stated so far.
    pub fn all_interfaces(&self) -> impl Iterator<Item = (InterfaceIndex, Option<&str>, &FileInterface)> {
        let described =
            self.interfaces().iter().enumerate().map(|(position, interface)| {
                (interface_index(position), interface.name.as_deref(), interface)
            });
        let described = described.filter(|(number, ..)| self.cooked.with_number(*number).is_none());
        let cooked = self.cooked.all().iter().filter_map(|cooked| {
            Some((cooked.number, cooked.name.as_deref(), self.interfaces().get(cooked.described)?))
        });
        described.chain(cooked)
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn statistics(&self) -> FileStatistics {
        self.statistics
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the next record that has a frame, without consuming it.
    fn record(&mut self) -> Result<Option<Record>, FileError> {
        while !self.ended {
            let bytes = self.input.unconsumed();
            let outcome = match &mut self.format {
                Format::Pcap(pcap) => pcap.parse(bytes),
                Format::PcapNg(pcapng) => pcapng.parse(bytes),
            };
            match outcome {
                ParseOutcome::Frame(record) => return Ok(Some(record)),
                ParseOutcome::Skip(length) => {
                    self.input.consume(length);
                }
                ParseOutcome::NeedsMore(length) => self.read_more(length)?,
                ParseOutcome::Malformed(reason) => return Err(self.malformed(reason)),
            }
        }
        Ok(None)
    }

    fn read_more(&mut self, length: usize) -> Result<(), FileError> {
        if length > Input::MAX_RECORD_BYTES {
            return Err(self.malformed("has an impossible length"));
        }
        let is_complete = match self.input.need(length) {
            Ok(is_complete) => is_complete,
            Err(error) if is_damage(&error) => {
                return Err(self.malformed("is in a damaged part of a gzip file"));
            }
            Err(error) => return Err(FileError::from_os("read", &self.path, error)),
        };
        if is_complete {
            return Ok(());
        }
        self.ended = true;
        if self.input.unconsumed().is_empty() {
            return Ok(());
        }
        let kind = FileErrorKind::Truncated { offset: self.input.offset() };
        Err(FileError::new("read all of", &self.path, kind))
    }

    fn malformed(&mut self, reason: &'static str) -> FileError {
        self.ended = true;
        let kind = FileErrorKind::Malformed { offset: self.input.offset(), reason };
        FileError::new("read all of", &self.path, kind)
    }
}

/// Returns whether an error is that of a compressed file which ends early or cannot be decompressed.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    )
}

fn interface_index(index: usize) -> InterfaceIndex {
    const FIRST: InterfaceIndex = match InterfaceIndex::new(1) {
        Some(index) => index,
        None => unreachable!(),
    };
    u32::try_from(index + 1).ok().and_then(InterfaceIndex::new).unwrap_or(FIRST)
}

/// Returns whether the link layer of a frame can be decoded. A frame that is too short for the simpler ones is shown as it is.
fn is_readable(bytes: &[u8], link_type: LinkType) -> bool {
    match link_type {
        LinkType::Ethernet
        | LinkType::Ip
        | LinkType::LinuxCooked
        | LinkType::LinuxCooked2
        | LinkType::Loopback => true,
        _ => !Packet::decode(bytes, link_type, Checksums::LeftToDevice).is_unreadable(),
    }
}

/// Returns the direction that the frame itself states, which only cooked frames do.
fn direction(bytes: &[u8], link_type: LinkType) -> Direction {
    let cooked = match link_type {
        LinkType::LinuxCooked | LinkType::LinuxCooked2 => {
            Packet::decode(bytes, link_type, Checksums::LeftToDevice).cooked
        }
        _ => None,
    };
    match cooked.map(|cooked| cooked.kind) {
        Some(CookedKind::ToUs) => Direction::ToUs,
        Some(CookedKind::Broadcast) => Direction::Broadcast,
        Some(CookedKind::Multicast) => Direction::Multicast,
        Some(CookedKind::ToOthers) => Direction::ToOthers,
        Some(CookedKind::Outgoing) => Direction::Outgoing,
        _ => Direction::Unknown,
    }
}

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
