//! One interface of a capture: its socket, and the batch of frames fetched from it.

use std::io;
use std::ops::Range;
use std::time::SystemTime;

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, MacAddress, Segments};
use mcast_sys::capture::{self, BatchPacket, CaptureSettings, CaptureSocket, LinkLayer, PacketBatch};
use mcast_sys::{HardwareAddress, interface};

use crate::options::InterfaceName;
use crate::{CaptureOptions, CaptureStatistics, Error, ErrorKind, Filter, Frame, Result, kernel_filter};

/// One interface of a capture.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) socket: CaptureSocket,
    pub(crate) is_in_blocks: bool,
    /// Why frames are delivered one by one although blocks were requested.
    pub(crate) block_error: Option<Error>,
    pub(crate) interface: InterfaceIndex,
    /// The system's name for it.
    pub(crate) name: String,
    pub(crate) link_type: LinkType,
    filter: Filter,
    batch: PacketBatch,
    cursor: Cursor,
    /// Memory for a datagram extracted from a coalesced packet.
    scratch: Vec<u8>,
    /// The frame to return next.
    pending: Option<PendingFrame>,
    statistics: CaptureStatistics,
}

/// The position in the batch after the pending frame.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    packet: usize,
    /// The number of the datagram within a coalesced packet.
    segment: usize,
}

/// A frame ready to be returned.
#[derive(Debug)]
struct PendingFrame {
    packet: BatchPacket,
    location: FrameLocation,
}

/// The location of a frame's bytes.
#[derive(Debug)]
enum FrameLocation {
    Batch(Range<usize>),
    Scratch(Range<usize>),
}

impl Tap {
    /// Opens the interface. On those of `ignore_outgoing`, frames that are sent are not captured.
    pub(crate) fn open(
        requested: &InterfaceName,
        options: &CaptureOptions,
        ignore_outgoing: &[InterfaceIndex],
    ) -> Result<Self> {
        let failed = |os| Error::from_os("capture", requested, os);
        let interface = match requested {
            InterfaceName::Index(index) => *index,
            InterfaceName::Name(name) => interface::index_of(name).map_err(failed)?,
        };
        let name = match requested {
            InterfaceName::Index(index) => interface::name_of(*index).map_err(failed)?,
            InterfaceName::Name(name) => name.clone(),
        };
        let mut socket = open_socket(interface, options, ignore_outgoing).map_err(failed)?;
        let link_type = match socket.link_layer().map_err(failed)? {
            Ok(LinkLayer::Ethernet) => LinkType::Ethernet,
            Ok(LinkLayer::Ip) => LinkType::Ip,
            Ok(LinkLayer::Loopback) => LinkType::Loopback,
            Err(number) => return Err(Error::new("capture", requested, ErrorKind::LinkType(number))),
        };
        let enabled = if options.in_blocks { socket.enable_blocks(options.buffer_size) } else { Ok(()) };
        let block_error = enabled.err().map(|os| Error::from_os("enable block delivery", requested, os));
        Ok(Self {
            socket,
            is_in_blocks: options.in_blocks && block_error.is_none(),
            block_error,
            interface,
            name,
            link_type,
            filter: options.filter,
            batch: PacketBatch::new(capture::BATCH_BYTES),
            cursor: Cursor::default(),
            scratch: Vec::new(),
            pending: None,
            statistics: CaptureStatistics::default(),
        })
    }

    /// Returns the time of the next frame; `None` at the end of the batch.
    pub(crate) fn peek(&mut self) -> Option<SystemTime> {
        if self.pending.is_none() {
            self.pending = self.advance();
        }
        self.pending.as_ref().map(|pending| pending.packet.time)
    }

    /// Returns the frame that [`Self::peek`] has found.
    pub(crate) fn take(&mut self) -> Option<Frame<'_>> {
        let PendingFrame { packet, location } = self.pending.take()?;
        self.statistics.frames += 1;
        let (bytes, resegmented) = match location {
            FrameLocation::Batch(range) => (self.batch.memory.get(range), false),
            FrameLocation::Scratch(range) => (self.scratch.get(range), true),
        };
        let bytes = bytes.unwrap_or_default();
        Some(Frame {
            bytes,
            original_length: if resegmented { bytes.len() } else { packet.original_length },
            link_type: self.link_type,
            interface: self.interface,
            interface_name: Some(&self.name),
            direction: packet.direction,
            time: packet.time,
            checksums: if resegmented { Checksums::LeftToDevice } else { checksums_of(&packet) },
            resegmented,
        })
    }

    /// Returns whether the system may have more packets than fitted into the batch.
    pub(crate) const fn may_have_more(&self) -> bool {
        self.batch.packets.len().checked_sub(capture::BATCH_PACKETS).is_some()
    }

    /// Fetches what the system has, and returns whether there was anything. The batch must be used up.
    pub(crate) fn fill(&mut self) -> Result<bool> {
        self.cursor = Cursor::default();
        self.batch.packets.clear();
        match self.socket.receive(&mut self.batch) {
            Ok(()) => Ok(!self.batch.packets.is_empty()),
            Err(os) if os.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(os) if capture::is_unreadable(&os) => {
                self.statistics.unreadable += 1;
                Ok(false)
            }
            Err(os) => Err(self.failed("capture", os)),
        }
    }

    pub(crate) fn statistics(&mut self) -> Result<CaptureStatistics> {
        let dropped = self.socket.take_dropped().map_err(|os| self.failed("read the statistics", os))?;
        self.statistics.dropped += u64::from(dropped);
        Ok(self.statistics)
    }

    pub(crate) fn buffer_size(&self) -> Result<usize> {
        self.socket.buffer_size().map_err(|os| self.failed("read the buffer size", os))
    }

    pub(crate) fn failed(&self, operation: &'static str, os: io::Error) -> Error {
        Error::from_os(operation, &self.name, os)
    }

    /// Advances to the next frame of the batch that the filter accepts; `None` at the end of the batch.
    fn advance(&mut self) -> Option<PendingFrame> {
        loop {
            let packet = self.batch.packets.get(self.cursor.packet)?.clone();
            let segment = self.cursor.segment;
            match self.extract(&packet, segment) {
                Some(length) => {
                    self.cursor.segment += 1;
                    return Some(PendingFrame { packet, location: FrameLocation::Scratch(0..length) });
                }
                None => self.cursor = Cursor { packet: self.cursor.packet + 1, segment: 0 },
            }
            // If any datagram was extracted from a packet, the whole packet has been delivered that way.
            if segment == 0 && self.filter.admits(self.batch.bytes(&packet), self.link_type) {
                let location = FrameLocation::Batch(packet.range.clone());
                return Some(PendingFrame { packet, location });
            }
        }
    }

    /// Writes the frame of the given datagram to the scratch memory, and returns its length. Returns `None`
    /// if the packet is not coalesced, or has no further datagram.
    fn extract(&mut self, packet: &BatchPacket, number: usize) -> Option<usize> {
        let size = packet.segment_size?;
        let bytes = self.batch.bytes(packet);
        let segments = Segments::new(bytes, self.link_type, checksums_of(packet), size)?;
        if number >= segments.len() || !self.filter.admits(bytes, self.link_type) {
            return None;
        }
        self.scratch.resize(capture::MAX_FRAME_BYTES, 0);
        segments.emit(number, &mut self.scratch).ok()
    }
}

/// Opens a socket that captures as the options request.
fn open_socket(
    interface: InterfaceIndex,
    options: &CaptureOptions,
    ignore_outgoing: &[InterfaceIndex],
) -> io::Result<CaptureSocket> {
    let groups: Vec<_> =
        options.groups.iter().map(|group| HardwareAddress(MacAddress::of_group(*group).0)).collect();
    let settings = CaptureSettings {
        outgoing: options.outgoing && !ignore_outgoing.contains(&interface),
        promiscuous: options.promiscuous,
        all_multicast: options.all_multicast,
        hardware_groups: &groups,
        buffer_size: options.buffer_size,
        filter: &kernel_filter::program(options.filter).unwrap_or_default(),
    };
    CaptureSocket::open(interface, &settings)
}

const fn checksums_of(packet: &BatchPacket) -> Checksums {
    if packet.lacks_checksum { Checksums::LeftToDevice } else { Checksums::Computed }
}
