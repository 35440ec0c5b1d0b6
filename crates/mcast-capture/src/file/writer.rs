//! Capture files are written.

use std::borrow::Cow;
use std::fs::File;
use std::io;
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

use super::error::{FileError, FileErrorKind};
use super::interface::LinkNumber;
use super::packet_block::PacketBlock;
use super::pcapng::flags;
use super::spool::Spool;
use crate::{Frame, Statistics};

/// A capture file that is being written: pcapng, or pcap where somebody needs it.
///
/// # What is lost when something goes wrong
///
/// Frames are written together, as soon as they come to 256 KiB, or when one comes and the oldest has
/// waited for 100 ms. [`Self::flush`] writes those that wait: call it whenever the capture has no frame
/// ready, and nothing but what the kernel still holds is lost when the program is killed. When the disk
/// is full, the file ends with the last whole frame that fitted, and the others wait in memory: the
/// error says so, and a later call tries again. Once 64 MiB wait, no more frames are taken;
/// [`Self::frames`] counts those that were.
///
/// # Checksums
///
/// A checksum that the kernel left to the device is filled in, as the device would have, so that nobody
/// takes it for a bad one. That is done for UDP.
#[derive(Debug)]
pub struct CaptureWriter {
    path: PathBuf,
    format: WriteFormat,
    spool: Spool<File>,
    /// The interfaces that the file has told of, in their order.
    interfaces: Vec<Known>,
    frames: u64,
    /// When the oldest frame that waits came.
    waiting_since: Option<Instant>,
    scratch: Vec<u8>,
}

/// In which format a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum WriteFormat {
    /// pcapng: interfaces with their names, directions, lost packets, times to the nanosecond.
    #[default]
    PcapNg,
    /// pcap with times to the nanosecond: for one link type, and the older of programs.
    Pcap,
}

/// An interface that the file has told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    interface: InterfaceIndex,
    link_type: LinkType,
}

impl CaptureWriter {
    /// How long a frame may wait for others.
    const LONGEST_WAIT: Duration = Duration::from_millis(100);

    /// No frame here is longer; tcpdump says the same.
    const SNAP_LENGTH: u32 = 262_144;

    /// Creates the file, or empties it if it is there, and writes its head.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn create(path: impl AsRef<Path>, format: WriteFormat) -> Result<Self, FileError> {
        let path = path.as_ref();
        let file = File::create(path).map_err(|os| FileError::from_os("create", path, os))?;
        Self::from_file(file, path, format)
    }

    /// Writes to a file or a pipe that is open already; `name` is what errors call it.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn from_file(file: File, name: impl AsRef<Path>, format: WriteFormat) -> Result<Self, FileError> {
        Self::with_comment(file, name, format, None)
    }

    /// The same, with a comment on the whole file, which a pcap file has no place for.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn with_comment(
        file: File,
        name: impl AsRef<Path>,
        format: WriteFormat,
        comment: Option<&str>,
    ) -> Result<Self, FileError> {
        let mut writer = Self {
            path: name.as_ref().to_owned(),
            format,
            spool: Spool::new(file),
            interfaces: Vec::new(),
            frames: 0,
            waiting_since: None,
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

    /// Tells the file of an interface, before the first of its frames. One that the file has not been told
    /// of is called by its number.
    ///
    /// # Errors
    /// [`FileErrorKind::OtherLinkType`], [`FileErrorKind::System`].
    pub fn describe(
        &mut self,
        interface: InterfaceIndex,
        name: &str,
        link_type: LinkType,
    ) -> Result<(), FileError> {
        self.place(interface, link_type, || name.to_owned()).map(drop)
    }

    /// Takes a frame into the file.
    ///
    /// # Errors
    /// [`FileErrorKind::OtherLinkType`]: the frame is not taken. [`FileErrorKind::System`]: it is, and
    /// waits in memory until there is room, unless 64 MiB wait already.
    pub fn write(&mut self, frame: &Frame<'_>) -> Result<(), FileError> {
        if self.spool.is_full() {
            self.flush()?;
        }
        let place =
            self.place(frame.interface, frame.link_type, || format!("interface {}", frame.interface))?;
        let mut filled_in = std::mem::take(&mut self.scratch);
        let bytes = as_on_the_wire(frame, &mut filled_in);
        let put = self.put_frame(frame, place, bytes);
        self.scratch = filled_in;
        put?;
        self.frames += 1;
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        if self.spool.is_due() || now.saturating_duration_since(since) >= Self::LONGEST_WAIT {
            return self.flush();
        }
        Ok(())
    }

    /// Tells the file how many packets were lost on an interface. Does nothing in a pcap file, which has
    /// no place for it.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn write_statistics(
        &mut self,
        interface: InterfaceIndex,
        statistics: &Statistics,
    ) -> Result<(), FileError> {
        let place = self.interfaces.iter().position(|known| known.interface == interface);
        let Some(place) = place.filter(|_| self.format == WriteFormat::PcapNg) else { return Ok(()) };
        let nanoseconds = since_epoch(SystemTime::now()).as_nanos() as u64;
        self.put_block(InterfaceStatisticsBlock {
            interface_id: place as u32,
            // The upper half comes first, whatever the byte order.
            timestamp: nanoseconds.rotate_left(32),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(statistics.frames + statistics.dropped),
                InterfaceStatisticsOption::IsbOsDrop(statistics.dropped),
                InterfaceStatisticsOption::IsbUsrDeliv(statistics.frames),
            ],
        })
    }

    /// Writes all frames that wait.
    ///
    /// # Errors
    /// [`FileErrorKind::System`]: those that did not fit wait on.
    pub fn flush(&mut self) -> Result<(), FileError> {
        let result = self.spool.flush();
        self.waiting_since = (self.spool.waiting() > 0).then(Instant::now);
        result.map_err(|os| FileError::from_os("write", &self.path, os))
    }

    /// Writes all frames that wait, and has the system bring them to the disk, so that they outlive a
    /// loss of power.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn sync(&mut self) -> Result<(), FileError> {
        self.flush()?;
        self.spool.storage().sync_data().map_err(|os| FileError::from_os("write", &self.path, os))
    }

    /// Frames that were taken.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Records that wait to be written: frames, and what is said about interfaces.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.spool.waiting()
    }

    /// How long the file is in bytes, without what waits.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.spool.written()
    }

    /// How long the file will be in bytes once what waits is written.
    #[must_use]
    pub const fn length_when_written(&self) -> u64 {
        self.spool.written() + self.spool.waiting_bytes()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The interface's place in the file, which is told of it if it has not been.
    fn place(
        &mut self,
        interface: InterfaceIndex,
        link_type: LinkType,
        name: impl FnOnce() -> String,
    ) -> Result<usize, FileError> {
        let wanted = Known { interface, link_type };
        if let Some(place) = self.interfaces.iter().position(|known| *known == wanted) {
            return Ok(place);
        }
        match (self.format, self.interfaces.first()) {
            (WriteFormat::PcapNg, _) => self.put_interface(link_type, &name())?,
            (WriteFormat::Pcap, None) => self.put_pcap_header(link_type)?,
            (WriteFormat::Pcap, Some(first)) if first.link_type == link_type => {}
            (WriteFormat::Pcap, Some(_)) => {
                return Err(FileError::new("write", &self.path, FileErrorKind::OtherLinkType));
            }
        }
        self.interfaces.push(wanted);
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

    fn put_frame(&mut self, frame: &Frame<'_>, place: usize, bytes: &[u8]) -> Result<(), FileError> {
        let timestamp = since_epoch(frame.time);
        let original_length = u32::try_from(frame.original_length.max(bytes.len())).unwrap_or(u32::MAX);
        if self.format == WriteFormat::Pcap {
            let packet = PcapPacket::new(timestamp, original_length, bytes);
            return self.put(|buffer| {
                packet.write_to::<_, LittleEndian>(buffer, TsResolution::NanoSecond, Self::SNAP_LENGTH)
            });
        }
        let flags = flags(frame.direction);
        let block = PacketBlock { place: place as u32, time: timestamp, original_length, bytes, flags };
        block.put(self.spool.begin());
        self.spool.finish();
        Ok(())
    }

    fn put_block<'a>(&mut self, block: impl PcapNgBlock<'a>) -> Result<(), FileError> {
        let block = block.into_block();
        self.put(|buffer| block.write_to::<LittleEndian, _>(buffer).map_err(PcapError::IoError))
    }

    /// Puts a record behind those that wait.
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

/// Writes what waits. Whoever wants to know whether that worked calls [`CaptureWriter::flush`] before.
impl Drop for CaptureWriter {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// The frame's bytes with the checksum that a device would have filled in; `memory` is for that.
fn as_on_the_wire<'a>(frame: &Frame<'a>, memory: &'a mut Vec<u8>) -> &'a [u8] {
    if frame.checksums == Checksums::Computed || frame.cut {
        return frame.bytes;
    }
    memory.clear();
    memory.extend_from_slice(frame.bytes);
    fill_udp_checksum(memory, frame.link_type);
    memory
}

/// A time before 1970 is told as 1970: neither format can say it.
fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
