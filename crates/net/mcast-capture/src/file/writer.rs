//! Writes capture files. Records are buffered on their way to a file, which ends with a complete record even after a failure.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use byteorder_slice::LittleEndian;
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, fill_udp_checksum};
use pcap_file::pcap::{PcapHeader, PcapPacket};
use pcap_file::pcapng::PcapNgBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{Endianness, PcapError, TsResolution};

use super::formats::{ENHANCED_PACKET, LinkNumber, flags};
use super::{FileError, FileErrorKind};
use crate::{CaptureStatistics, CapturedInterface, Frame};

/// A capture file opened for writing: pcapng, or pcap for programs that need it.
///
/// # Durability
///
/// Frames are written once they amount to 256 KiB, or when the oldest has been pending for 100 ms, which every 16th frame
/// checks. [`Self::flush`] writes those that are pending: call it whenever the capture has no frame
/// ready; then only what the kernel still holds is lost if the program is killed. When the disk is full, the
/// file ends with the last complete frame that fitted, the others stay in memory, and the call returns an
/// error; a later call tries again. Once 64 MiB are pending, no more frames are accepted; [`Self::frames`]
/// counts those that were. A file that the writer has created, and to which nothing could be written, is removed in the end.
///
/// # Checksums
///
/// A UDP checksum that the kernel left to the device is filled in, as the device would have done, so that it
/// does not appear invalid.
#[derive(Debug)]
pub struct CaptureWriter {
    path: PathBuf,
    format: WriteFormat,
    spool: Spool<File>,
    /// Whether this writer has created the file.
    is_new: bool,
    /// The interfaces that the file has described, in order.
    interfaces: Vec<WrittenInterface>,
    frames: u64,
    /// When the oldest pending frame arrived.
    pending_since: Option<Instant>,
    scratch: Vec<u8>,
}

/// The format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WriteFormat {
    /// pcapng: interfaces with names, directions, lost packets, times in nanoseconds.
    #[default]
    PcapNg,
    /// pcap with times in nanoseconds: for a single link type, and for older programs.
    Pcap,
}

/// An interface that the file has described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WrittenInterface {
    interface: InterfaceIndex,
    link_type: LinkType,
}

impl CaptureWriter {
    /// How long a frame may be pending.
    const MAX_DELAY: Duration = Duration::from_millis(100);

    /// The number of frames between two looks at the clock, which take longer than the rest of a short frame.
    const FRAMES_PER_CHECK: u64 = 16;

    /// An upper limit for the length of frames, the same as tcpdump's.
    const SNAP_LENGTH: u32 = 262_144;

    /// Creates the file, truncating an existing one, and writes its header.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn create(path: impl AsRef<Path>, format: WriteFormat) -> Result<Self, FileError> {
        let path = path.as_ref();
        match Self::create_new(path, format) {
            Err(error) if error.kind() == FileErrorKind::AlreadyExists => {
                let file = File::create(path).map_err(|os| FileError::from_os("create", path, os))?;
                Self::from_file(file, path, format)
            }
            created => created,
        }
    }

    /// Creates a file that must not exist, and writes its header.
    ///
    /// # Errors
    /// [`FileErrorKind::AlreadyExists`], [`FileErrorKind::System`].
    pub fn create_new(path: impl AsRef<Path>, format: WriteFormat) -> Result<Self, FileError> {
        let path = path.as_ref();
        let file = File::create_new(path).map_err(|os| FileError::from_os("create", path, os))?;
        Self::begin(file, path, format, None, true)
    }

    /// Writes to an open file or pipe; errors refer to it as `name`.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn from_file(file: File, name: impl AsRef<Path>, format: WriteFormat) -> Result<Self, FileError> {
        Self::with_comment(file, name, format, None)
    }

    /// Like [`Self::from_file`], with a comment on the file, which is ignored for pcap.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn with_comment(
        file: File,
        name: impl AsRef<Path>,
        format: WriteFormat,
        comment: Option<&str>,
    ) -> Result<Self, FileError> {
        Self::begin(file, name.as_ref(), format, comment, false)
    }

    /// Like [`Self::with_comment`]. A file that `is_new` is removed when the writer is dropped and nothing could be written
    /// to it: an empty one would only be in the way of the next attempt.
    pub(super) fn begin(
        file: File,
        path: &Path,
        format: WriteFormat,
        comment: Option<&str>,
        is_new: bool,
    ) -> Result<Self, FileError> {
        let mut writer = Self {
            path: path.to_owned(),
            format,
            spool: Spool::new(file),
            is_new,
            interfaces: Vec::new(),
            frames: 0,
            pending_since: None,
            scratch: Vec::new(),
        };
        if format == WriteFormat::PcapNg {
            let application = Cow::Borrowed(concat!("mcast ", env!("CARGO_PKG_VERSION")));
            let comment = comment.map(|comment| SectionHeaderOption::Comment(Cow::Borrowed(comment)));
            writer.put_block(SectionHeaderBlock {
                endianness: Endianness::Little,
                options: comment
                    .into_iter()
                    .chain([SectionHeaderOption::UserApplication(application)])
                    .collect(),
                ..SectionHeaderBlock::default()
            })?;
            writer.flush()?;
        }
        Ok(writer)
    }

    /// Describes an interface, before its first frame. [`Self::write`] describes other interfaces.
    ///
    /// # Errors
    /// [`FileErrorKind::LinkTypeMismatch`], [`FileErrorKind::System`].
    pub fn describe(
        &mut self,
        interface: InterfaceIndex,
        name: &str,
        link_type: LinkType,
    ) -> Result<(), FileError> {
        self.interface_id(interface, link_type, || name.to_owned()).map(drop)
    }

    /// Describes the interfaces of a capture. Does nothing in a pcap file, which cannot name them.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn describe_all<'a>(
        &mut self,
        interfaces: impl IntoIterator<Item = CapturedInterface<'a>>,
    ) -> Result<(), FileError> {
        let is_named = self.format == WriteFormat::PcapNg;
        let mut interfaces = interfaces.into_iter().filter(|_| is_named);
        interfaces.try_for_each(|each| self.describe(each.index, each.name, each.link_type))
    }

    /// Adds a frame to the file, which describes its interface by [`Frame::interface_name`], or by its index.
    ///
    /// # Errors
    /// [`FileErrorKind::LinkTypeMismatch`]: the frame is rejected. [`FileErrorKind::System`]: the frame is
    /// accepted, and stays in memory until there is room, unless 64 MiB are pending already.
    pub fn write(&mut self, frame: &Frame<'_>) -> Result<(), FileError> {
        if self.spool.is_full() {
            self.flush()?;
        }
        let name =
            || frame.interface_name.map_or_else(|| format!("interface {}", frame.interface), Into::into);
        let id = self.interface_id(frame.interface, frame.link_type, name)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        let bytes = as_on_the_wire(frame, &mut scratch);
        let put = self.put_frame(frame, id, bytes);
        self.scratch = scratch;
        put?;
        self.frames += 1;
        let is_late = match self.pending_since {
            None => {
                self.pending_since = Some(Instant::now());
                false
            }
            Some(since) => {
                self.frames.is_multiple_of(Self::FRAMES_PER_CHECK) && since.elapsed() >= Self::MAX_DELAY
            }
        };
        if self.spool.is_due() || is_late {
            return self.flush();
        }
        Ok(())
    }

    /// Records the number of packets lost on an interface. Does nothing in a pcap file, which cannot store
    /// it.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn write_statistics(
        &mut self,
        interface: InterfaceIndex,
        statistics: &CaptureStatistics,
    ) -> Result<(), FileError> {
        let id = self.interfaces.iter().position(|written| written.interface == interface);
        let Some(id) = id.filter(|_| self.format == WriteFormat::PcapNg) else { return Ok(()) };
        let nanoseconds = since_epoch(SystemTime::now()).as_nanos() as u64;
        self.put_block(InterfaceStatisticsBlock {
            interface_id: id as u32,
            // The upper half comes first, regardless of byte order.
            timestamp: nanoseconds.rotate_left(32),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(statistics.frames + statistics.dropped),
                InterfaceStatisticsOption::IsbOsDrop(statistics.dropped),
                InterfaceStatisticsOption::IsbUsrDeliv(statistics.frames),
            ],
        })
    }

    /// Writes all pending frames.
    ///
    /// # Errors
    /// [`FileErrorKind::System`]: frames that did not fit stay pending.
    pub fn flush(&mut self) -> Result<(), FileError> {
        let result = self.spool.flush();
        self.pending_since = (self.spool.pending() > 0).then(Instant::now);
        let operation = if self.length() == 0 { FileError::WRITE_START } else { "write" };
        result.map_err(|os| FileError::from_os(operation, &self.path, os))
    }

    /// Writes all pending frames and flushes the file to disk, so that they survive a power failure.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn sync(&mut self) -> Result<(), FileError> {
        self.flush()?;
        self.spool.storage().sync_data().map_err(|os| FileError::from_os("write", &self.path, os))
    }

    /// Returns the number of frames accepted.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns the number of pending records: frames, and records about interfaces.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.spool.pending()
    }

    /// Returns the number of frames accepted that are not in the file yet. Pending records about interfaces count as
    /// frames, as far as there are that many.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.frames.min(self.spool.pending() as u64)
    }

    /// Returns the length of the file in bytes, without pending records.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.spool.written()
    }

    /// Returns the length of the file in bytes once pending records are written.
    #[must_use]
    pub const fn length_when_written(&self) -> u64 {
        self.spool.written() + self.spool.pending_bytes()
    }

    /// Returns the number of interfaces that the file describes.
    pub(super) const fn interfaces(&self) -> usize {
        self.interfaces.len()
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the interface's number in the file, describing the interface first if necessary.
    fn interface_id(
        &mut self,
        interface: InterfaceIndex,
        link_type: LinkType,
        name: impl FnOnce() -> String,
    ) -> Result<usize, FileError> {
        let described = WrittenInterface { interface, link_type };
        if let Some(id) = self.interfaces.iter().position(|written| *written == described) {
            return Ok(id);
        }
        match (self.format, self.interfaces.first()) {
            (WriteFormat::PcapNg, _) => self.put_interface(link_type, &name())?,
            (WriteFormat::Pcap, None) => self.put_pcap_header(link_type)?,
            (WriteFormat::Pcap, Some(first)) if first.link_type == link_type => {}
            (WriteFormat::Pcap, Some(_)) => {
                return Err(FileError::new("write", &self.path, FileErrorKind::LinkTypeMismatch));
            }
        }
        self.interfaces.push(described);
        Ok(self.interfaces.len() - 1)
    }

    fn put_interface(&mut self, link_type: LinkType, name: &str) -> Result<(), FileError> {
        const NANOSECONDS: u8 = 9;
        self.put_block(InterfaceDescriptionBlock {
            linktype: LinkNumber::from(link_type).data_link(),
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        })
    }

    fn put_pcap_header(&mut self, link_type: LinkType) -> Result<(), FileError> {
        let header = PcapHeader {
            snaplen: Self::SNAP_LENGTH,
            datalink: LinkNumber::from(link_type).data_link(),
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        self.put(|buffer| header.write_to(buffer))
    }

    fn put_frame(&mut self, frame: &Frame<'_>, id: usize, bytes: &[u8]) -> Result<(), FileError> {
        let timestamp = since_epoch(frame.time);
        let original_length = u32::try_from(frame.original_length.max(bytes.len())).unwrap_or(u32::MAX);
        if self.format == WriteFormat::Pcap {
            let packet = PcapPacket::new(timestamp, original_length, bytes);
            return self.put(|buffer| {
                packet.write_to::<_, LittleEndian>(buffer, TsResolution::NanoSecond, Self::SNAP_LENGTH)
            });
        }
        let flags = flags(frame.direction);
        let block = PacketBlock { interface_id: id as u32, time: timestamp, original_length, bytes, flags };
        block.put(self.spool.begin());
        self.spool.finish();
        Ok(())
    }

    fn put_block<'a>(&mut self, block: impl PcapNgBlock<'a>) -> Result<(), FileError> {
        let block = block.into_block();
        self.put(|buffer| block.write_to::<LittleEndian, _>(buffer).map_err(PcapError::IoError))
    }

    /// Appends a record to the pending ones.
    fn put(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<usize, PcapError>,
    ) -> Result<(), FileError> {
        match encode(self.spool.begin()) {
            Ok(_) => {
                self.spool.finish();
                Ok(())
            }
            Err(error) => {
                self.spool.abandon();
                Err(FileError::from_os("write", &self.path, io::Error::other(error)))
            }
        }
    }
}

/// Writes pending records and ignores errors. Call [`CaptureWriter::flush`] first to see them.
impl Drop for CaptureWriter {
    fn drop(&mut self) {
        if self.flush().is_err() && self.is_new && self.length() == 0 {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Returns the frame's bytes with the checksum that a device would have filled in; `memory` is the buffer for
/// that.
fn as_on_the_wire<'a>(frame: &Frame<'a>, memory: &'a mut Vec<u8>) -> &'a [u8] {
    if frame.checksums == Checksums::Computed || frame.resegmented {
        return frame.bytes;
    }
    memory.clear();
    memory.extend_from_slice(frame.bytes);
    fill_udp_checksum(memory, frame.link_type);
    memory
}

/// Returns the time since 1970; earlier times are clamped, because neither format can represent them.
fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// An enhanced packet block (draft-ietf-opsawg-pcapng section 4.3), with times in nanoseconds.
pub(super) struct PacketBlock<'a> {
    /// The interface's number in the section.
    interface_id: u32,
    /// Time since 1970.
    pub(super) time: Duration,
    pub(super) original_length: u32,
    pub(super) bytes: &'a [u8],
    /// The value of `epb_flags`; 0 is omitted.
    pub(super) flags: u32,
}

impl PacketBlock<'_> {
    /// Length of type, length, fixed fields, and the repeated length.
    const FIXED: usize = 8 + 20 + 4;

    /// Length of the flags option and the end marker.
    const OPTIONS: usize = 8 + 4;

    /// Appends the block to the buffer, in little-endian order.
    fn put(&self, buffer: &mut Vec<u8>) {
        const FLAGS: [u8; 4] = [2, 0, 4, 0];
        const END: [u8; 4] = [0; 4];
        let padding = self.bytes.len().next_multiple_of(4) - self.bytes.len();
        let options = if self.flags == 0 { 0 } else { Self::OPTIONS };
        let length = (Self::FIXED + self.bytes.len() + padding + options) as u32;
        let nanoseconds = self.time.as_nanos() as u64;
        let captured = self.bytes.len() as u32;
        let (high, low) = ((nanoseconds >> 32) as u32, nanoseconds as u32);
        let head = [ENHANCED_PACKET, length, self.interface_id, high, low, captured, self.original_length];
        buffer.reserve(length as usize);
        head.iter().for_each(|number| buffer.extend_from_slice(&number.to_le_bytes()));
        buffer.extend_from_slice(self.bytes);
        buffer.extend_from_slice(END.get(..padding).unwrap_or_default());
        if self.flags != 0 {
            buffer.extend_from_slice(&FLAGS);
            buffer.extend_from_slice(&self.flags.to_le_bytes());
            buffer.extend_from_slice(&END);
        }
        buffer.extend_from_slice(&length.to_le_bytes());
    }
}

/// The destination of records.
pub(super) trait Storage {
    /// Writes some of the bytes, and returns how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Removes the last `count` bytes that were written.
    fn remove_last(&mut self, count: u64) -> io::Result<()>;
}

impl Storage for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    /// Standard output may have had contents before (`>> FILE`), and other programs may append to the same
    /// file. The position after our last write is therefore decisive, and bytes are removed only if nothing
    /// follows them.
    fn remove_last(&mut self, count: u64) -> io::Result<()> {
        let end = self.stream_position()?;
        let start = end.checked_sub(count).ok_or(io::ErrorKind::InvalidInput)?;
        if self.metadata()?.len() != end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.set_len(start)?;
        self.seek(SeekFrom::Start(start)).map(drop)
    }
}

/// Records to be written, and the length of the file.
#[derive(Debug)]
pub(super) struct Spool<S> {
    storage: S,
    pending: Vec<u8>,
    /// The end of each record in `pending`.
    ends: Vec<usize>,
    /// Bytes in the file.
    written: u64,
}

impl<S: Storage> Spool<S> {
    /// Records are written once there are this many bytes.
    const FLUSH_BYTES: usize = 256 << 10;

    /// At most about this many bytes are kept in memory.
    const MAX_PENDING_BYTES: usize = 64 << 20;

    pub(super) const fn new(storage: S) -> Self {
        Self { storage, pending: Vec::new(), ends: Vec::new(), written: 0 }
    }

    /// Returns the number of bytes in the file.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Returns the number of records not yet in the file.
    pub(super) const fn pending(&self) -> usize {
        self.ends.len()
    }

    /// Returns the number of bytes not yet in the file.
    const fn pending_bytes(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Returns whether there are enough records to write them.
    pub(super) const fn is_due(&self) -> bool {
        self.pending.len() >= Self::FLUSH_BYTES
    }

    /// Returns whether no more records fit in memory.
    pub(super) const fn is_full(&self) -> bool {
        self.pending.len() >= Self::MAX_PENDING_BYTES
    }

    /// Returns the buffer to append the next record to; [`Self::finish`] or [`Self::abandon`] must follow.
    pub(super) const fn begin(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Completes the record that has been appended.
    pub(super) fn finish(&mut self) {
        self.ends.push(self.pending.len());
    }

    /// Discards the record that has been appended.
    fn abandon(&mut self) {
        self.pending.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Writes all pending records. After an error, the file ends with a complete record, and the records that
    /// are not in it stay pending.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        let result = loop {
            let rest = self.pending.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.storage.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => done += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let complete = self.ends.iter().copied().take_while(|end| *end <= done).last().unwrap_or(0);
        // If a partial record cannot be removed, as from a pipe, its rest is written next.
        let excess = (done - complete) as u64;
        let written = if excess > 0 && self.storage.remove_last(excess).is_ok() { complete } else { done };
        self.remove_written(written);
        result
    }

    const fn storage(&self) -> &S {
        &self.storage
    }

    /// Removes `count` bytes that are now in the file.
    fn remove_written(&mut self, count: usize) {
        self.written += count as u64;
        if count == self.pending.len() {
            self.pending.clear();
            self.ends.clear();
            return;
        }
        self.pending.drain(..count);
        self.ends.retain(|end| *end > count);
        self.ends.iter_mut().for_each(|end| *end -= count);
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};

    use super::*;

    #[test]
    fn block_equals_the_one_of_pcap_file() {
        for (length, flags) in [(0, 0), (1, 1), (2, 9), (3, 2), (4, 0), (106, 9), (65_535, 2)] {
            let bytes = vec![0xa5; length];
            let time = Duration::new(1_795_000_000, 123_456_789);
            let ours = PacketBlock { interface_id: 3, time, original_length: 70_000, bytes: &bytes, flags };
            let mut buffer = b"before".to_vec();
            ours.put(&mut buffer);
            let theirs = EnhancedPacketBlock {
                interface_id: 3,
                timestamp: time,
                original_len: 70_000,
                data: Cow::Borrowed(&bytes),
                options: if flags == 0 { Vec::new() } else { vec![EnhancedPacketOption::Flags(flags)] },
            };
            let mut expected = b"before".to_vec();
            theirs.into_block().write_to::<LittleEndian, _>(&mut expected).unwrap();
            assert_eq!(buffer, expected, "{length} bytes");
        }
    }

    /// A disk with little room, which accepts at most five bytes per write.
    #[derive(Debug)]
    struct Disk {
        content: Vec<u8>,
        room: usize,
        can_remove: bool,
    }

    impl Storage for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(5).min(self.room - self.content.len());
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn remove_last(&mut self, count: u64) -> io::Result<()> {
            if !self.can_remove {
                return Err(io::ErrorKind::NotSeekable.into());
            }
            self.content.truncate(self.content.len() - usize::try_from(count).unwrap());
            Ok(())
        }
    }

    fn spool(room: usize, can_remove: bool) -> Spool<Disk> {
        let mut spool = Spool::new(Disk { content: Vec::new(), room, can_remove });
        for record in [&b"first "[..], b"second ", b"third "] {
            spool.begin().extend_from_slice(record);
            spool.finish();
        }
        spool
    }

    #[test]
    fn complete_records_are_written_in_order() {
        let mut spool = spool(100, true);
        spool.begin().extend_from_slice(b"half a rec");
        spool.abandon();
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
        assert_eq!((spool.written(), spool.pending()), (19, 0));
    }

    #[test]
    fn full_disk_leaves_complete_records_and_keeps_the_others() {
        let mut spool = spool(16, true);
        assert_eq!(spool.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(spool.storage.content, b"first second ");
        assert_eq!((spool.written(), spool.pending()), (13, 1));
        assert!(spool.flush().is_err());
        assert_eq!(spool.storage.content, b"first second ");
        spool.storage.room = 19;
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
    }

    #[test]
    fn partial_record_that_cannot_be_removed_is_completed() {
        let mut spool = spool(16, false);
        assert!(spool.flush().is_err());
        assert_eq!(spool.storage.content, b"first second thi");
        spool.storage.room = 19;
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
    }

    #[test]
    fn only_our_last_bytes_are_removed_from_an_appended_file() {
        let mut named = tempfile::NamedTempFile::new().unwrap();
        named.write_all(b"earlier ").unwrap();
        let mut ours = File::options().append(true).open(named.path()).unwrap();
        ours.write_all(b"first sec").unwrap();

        ours.remove_last(3).unwrap();
        assert_eq!(std::fs::read(named.path()).unwrap(), b"earlier first ");
        ours.write_all(b"second").unwrap();
        File::options().append(true).open(named.path()).unwrap().write_all(b" theirs").unwrap();

        assert!(ours.remove_last(3).is_err(), "something else follows");
        assert_eq!(std::fs::read(named.path()).unwrap(), b"earlier first second theirs");
    }
}
