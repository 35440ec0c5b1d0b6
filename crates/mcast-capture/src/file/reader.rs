//! Capture files are read: frame by frame, as from a live capture.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, CookedKind, LinkType, Packet};

use super::error::{FileError, FileErrorKind};
use super::input::Input;
use super::interface::FileInterface;
use super::pcap::Pcap;
use super::pcapng::{PcapNg, SECTION_HEADER};
use crate::{Direction, Frame};

/// A capture file that is being read: pcap or pcapng, of any byte order and resolution of time.
#[derive(Debug)]
pub struct CaptureFile {
    path: PathBuf,
    input: Input,
    format: Format,
    statistics: FileStatistics,
    /// Nothing more can be read.
    over: bool,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileFormat {
    /// pcap with times to the microsecond.
    PcapMicroseconds,
    /// pcap with times to the nanosecond.
    PcapNanoseconds,
    /// pcapng, in which each interface has its own resolution.
    PcapNg,
}

/// What has been read of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStatistics {
    /// Frames that [`CaptureFile::next`] gave out.
    pub frames: u64,
    /// Frames that were passed over, because nothing here decodes their link type:
    /// [`FileInterface::link`] says which it is.
    pub passed_over: u64,
}

/// A frame in the bytes at hand.
#[derive(Debug)]
pub(super) struct Record {
    /// The length of the record.
    pub(super) length: usize,
    /// Where in the record the frame is.
    pub(super) data: Range<usize>,
    pub(super) original_length: usize,
    /// Its interface's place in the list of all.
    pub(super) interface: usize,
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) direction: Direction,
}

/// What the bytes at hand are.
#[derive(Debug)]
pub(super) enum Step {
    Frame(Record),
    /// A record of this length that has no frame.
    Skip(usize),
    /// Part of a record that has at least so many bytes.
    NeedsMore(usize),
    Malformed(&'static str),
}

impl CaptureFile {
    /// Opens the file and reads its head.
    ///
    /// # Errors
    /// [`FileErrorKind::System`] when it cannot be opened, [`FileErrorKind::NotACapture`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|os| FileError::from_os("open", path, os))?;
        Self::from_reader(file, path)
    }

    /// Reads from anything, such as a pipe; `name` is what errors call it.
    ///
    /// # Errors
    /// [`FileErrorKind::System`] when it cannot be read, [`FileErrorKind::NotACapture`].
    pub fn from_reader(
        reader: impl Read + Send + 'static,
        name: impl AsRef<Path>,
    ) -> Result<Self, FileError> {
        let path = name.as_ref().to_owned();
        let mut input = Input::new(Box::new(reader));
        let whole = input.need(Pcap::HEADER_LENGTH).map_err(|os| FileError::from_os("read", &path, os))?;
        let head = input.unused();
        let format = if head.starts_with(&SECTION_HEADER.to_be_bytes()) {
            Format::PcapNg(PcapNg::new())
        } else if let Some(pcap) = Pcap::new(head).filter(|_| whole) {
            input.consume(Pcap::HEADER_LENGTH);
            Format::Pcap(pcap)
        } else {
            return Err(FileError::new("read", &path, FileErrorKind::NotACapture));
        };
        Ok(Self { path, input, format, statistics: FileStatistics::default(), over: false })
    }

    /// The next frame; `None` at the end. Its bytes last until the next call.
    ///
    /// # Errors
    /// [`FileErrorKind::CutOff`] and [`FileErrorKind::Malformed`] once, after all frames that could be
    /// read; [`FileErrorKind::System`] when reading fails.
    #[allow(clippy::should_implement_trait)] // The frame is lent, which no iterator can do.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, FileError> {
        let (record, link_type) = loop {
            let Some(record) = self.record()? else { return Ok(None) };
            let link = self.interfaces().get(record.interface).map(|interface| interface.link);
            match link.and_then(super::LinkNumber::link_type) {
                Some(link_type) => break (record, link_type),
                None => {
                    self.statistics.passed_over += 1;
                    self.input.consume(record.length);
                }
            }
        };
        let time = SystemTime::UNIX_EPOCH
            .checked_add(record.time)
            .ok_or_else(|| self.malformed("has a time that no clock here can tell"))?;
        let place = self.input.consume(record.length);
        let data = place.start + record.data.start..place.start + record.data.end;
        let bytes = self.input.consumed(data);
        self.statistics.frames += 1;
        Ok(Some(Frame {
            bytes,
            original_length: record.original_length.max(bytes.len()),
            link_type,
            interface: interface_index(record.interface),
            direction: match record.direction {
                Direction::Unknown => direction(bytes, link_type),
                told => told,
            },
            time,
            checksums: Checksums::Computed,
            cut: false,
        }))
    }

    /// Whether nothing more can be read: the end was reached, or what could not be read past.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// How the file is written.
    #[must_use]
    pub const fn format(&self) -> FileFormat {
        match &self.format {
            Format::Pcap(pcap) if pcap.nanoseconds() => FileFormat::PcapNanoseconds,
            Format::Pcap(_) => FileFormat::PcapMicroseconds,
            Format::PcapNg(_) => FileFormat::PcapNg,
        }
    }

    /// The interfaces that the file has told of so far. The first has the number 1 in
    /// [`Frame::interface`].
    #[must_use]
    pub fn interfaces(&self) -> &[FileInterface] {
        match &self.format {
            Format::Pcap(pcap) => std::slice::from_ref(&pcap.interface),
            Format::PcapNg(pcapng) => &pcapng.interfaces,
        }
    }

    /// The interface of a frame.
    #[must_use]
    pub fn interface(&self, index: InterfaceIndex) -> Option<&FileInterface> {
        let place = usize::try_from(index.number()).ok()?.checked_sub(1)?;
        self.interfaces().get(place)
    }

    /// What has been read so far.
    #[must_use]
    pub const fn statistics(&self) -> FileStatistics {
        self.statistics
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next record that has a frame, not yet consumed.
    fn record(&mut self) -> Result<Option<Record>, FileError> {
        while !self.over {
            let bytes = self.input.unused();
            let step = match &mut self.format {
                Format::Pcap(pcap) => pcap.step(bytes),
                Format::PcapNg(pcapng) => pcapng.step(bytes),
            };
            match step {
                Step::Frame(record) => return Ok(Some(record)),
                Step::Skip(length) => {
                    self.input.consume(length);
                }
                Step::NeedsMore(length) => self.read_more(length)?,
                Step::Malformed(reason) => return Err(self.malformed(reason)),
            }
        }
        Ok(None)
    }

    fn read_more(&mut self, length: usize) -> Result<(), FileError> {
        if length > Input::LONGEST_RECORD {
            return Err(self.malformed("says that it is longer than any record is"));
        }
        let whole = self.input.need(length).map_err(|os| FileError::from_os("read", &self.path, os))?;
        if whole {
            return Ok(());
        }
        self.over = true;
        if self.input.unused().is_empty() {
            return Ok(());
        }
        let kind = FileErrorKind::CutOff { offset: self.input.offset() };
        Err(FileError::new("read all of", &self.path, kind))
    }

    fn malformed(&mut self, reason: &'static str) -> FileError {
        self.over = true;
        let kind = FileErrorKind::Malformed { offset: self.input.offset(), reason };
        FileError::new("read all of", &self.path, kind)
    }
}

/// The number of the interface at this place.
fn interface_index(place: usize) -> InterfaceIndex {
    const FIRST: InterfaceIndex = match InterfaceIndex::new(1) {
        Some(index) => index,
        None => unreachable!(),
    };
    u32::try_from(place + 1).ok().and_then(InterfaceIndex::new).unwrap_or(FIRST)
}

/// What the frame itself says: only cooked ones do.
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
