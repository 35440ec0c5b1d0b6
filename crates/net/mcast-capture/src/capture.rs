//! Live capture of frames from one interface or several, each with its socket and a batch of frames fetched from it.

use std::io;
use std::ops::{AddAssign, Range, Sub};
use std::time::{Duration, Instant, SystemTime};

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, MacAddress, Segments};
use mcast_sys::capture::{self, BatchPacket, CaptureSettings, CaptureSocket, LinkLayer, PacketBatch};
use mcast_sys::poller::Poller;
use mcast_sys::{HardwareAddress, interface};

use crate::options::InterfaceName;
use crate::{CaptureOptions, Error, ErrorKind, Filter, Frame, Result, kernel_filter};

/// An open capture on one interface or several.
#[derive(Debug)]
pub struct Capture {
    taps: Vec<Tap>,
    poller: Poller,
    /// The counts of interfaces that the capture no longer includes.
    earlier: CaptureStatistics,
}

/// Counts since the capture was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStatistics {
    /// Frames returned by [`Capture::next`].
    pub frames: u64,
    /// Packets that the kernel dropped because the buffer was full. A packet may be several coalesced
    /// datagrams, so at least this many were lost. Packets that the filter rejects are not counted, except
    /// those that only a look past VLAN tags or IPv6 extension headers would have rejected.
    pub dropped: u64,
    /// Packets that the kernel could not deliver: UDP with GSO on Linux before 6.2.
    pub unreadable: u64,
}

impl AddAssign for CaptureStatistics {
    fn add_assign(&mut self, more: Self) {
        self.frames += more.frames;
        self.dropped += more.dropped;
        self.unreadable += more.unreadable;
    }
}

/// The counts since an earlier moment.
impl Sub for CaptureStatistics {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            frames: self.frames - earlier.frames,
            dropped: self.dropped - earlier.dropped,
            unreadable: self.unreadable - earlier.unreadable,
        }
    }
}

/// An interface of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CapturedInterface<'a> {
    /// Its index, as in [`Frame::interface`].
    pub index: InterfaceIndex,
    /// Its name when the capture was opened.
    pub name: &'a str,
    /// The link type of its frames.
    pub link_type: LinkType,
}

impl Capture {
    /// Starts a capture. Frames are buffered from now on, until [`Self::next`] returns them.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`] without the right to capture, [`ErrorKind::NoSuchInterface`],
    /// [`ErrorKind::LinkType`] when an interface carries neither Ethernet nor IP, [`ErrorKind::Unsupported`]
    /// on systems for which capturing is not implemented.
    pub fn open(options: CaptureOptions) -> Result<Self> {
        let loopbacks = if options.loopback_once { loopbacks()? } else { Vec::new() };
        let opened = options.interfaces.iter().map(|name| Tap::open(name, &options, &loopbacks));
        let taps = opened.collect::<Result<Vec<_>>>()?;
        let poller = open_poller(&taps)?;
        Ok(Self { taps, poller, earlier: CaptureStatistics::default() })
    }

    /// Adds the interfaces of another capture, with the frames that it has buffered. A capture can thus follow
    /// interfaces that appear, even if another thread has the right to open them:
    ///
    /// ```no_run
    /// # use mcast_capture::{Capture, CaptureOptions};
    /// # fn example() -> mcast_capture::Result<()> {
    /// let mut capture = Capture::open(CaptureOptions::on_name("eth0"))?;
    /// capture.append(Capture::open(CaptureOptions::on_name("eth1"))?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system cannot wait for further interfaces.
    pub fn append(&mut self, other: Self) -> Result<()> {
        self.taps.extend(other.taps);
        self.earlier += other.earlier;
        self.poller = open_poller(&self.taps)?;
        Ok(())
    }

    /// Stops capturing on the interfaces for which `keep` returns `false`. Their frames that were not yet
    /// returned are discarded; [`Self::statistics`] still includes their counts.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not report the counts; the capture is then unchanged.
    pub fn retain(&mut self, keep: impl Fn(InterfaceIndex) -> bool) -> Result<()> {
        let mut earlier = self.earlier;
        for tap in self.taps.iter_mut().filter(|tap| !keep(tap.interface)) {
            earlier += tap.statistics()?;
        }
        self.earlier = earlier;
        // The poller forgets a socket when it is closed.
        self.taps.retain(|tap| keep(tap.interface));
        Ok(())
    }

    /// Returns the next frame. Waits until there is one, at most for `timeout`; zero does not wait.
    ///
    /// Frames of several interfaces are returned in the order of their timestamps, as far as the system has
    /// them ready. Returns `None` if no frame arrived in time, or if a signal handler ran in this thread.
    ///
    /// # Errors
    /// [`ErrorKind::InterfaceDown`] once when an interface goes down; later calls continue with the others,
    /// and with this one when it is up again. [`ErrorKind::System`] for other errors of the system.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>> {
        // Reading the clock costs as much as a frame does, and most calls need not wait.
        let mut deadline = None;
        let position = loop {
            if let Some(position) = self.earliest()? {
                break position;
            }
            if self.fill()? {
                continue;
            }
            let now = Instant::now();
            let deadline =
                *deadline.get_or_insert_with(|| timeout.and_then(|timeout| now.checked_add(timeout)));
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            if left == Some(Duration::ZERO) || !self.wait(left)? {
                return Ok(None);
            }
        };
        Ok(self.taps.get_mut(position).and_then(Tap::take))
    }

    /// Returns the counts of all interfaces together, also of those that the capture no longer includes.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not report them.
    pub fn statistics(&mut self) -> Result<CaptureStatistics> {
        let mut sum = self.earlier;
        for tap in &mut self.taps {
            sum += tap.statistics()?;
        }
        Ok(sum)
    }

    /// Returns the counts of each interface that the capture includes.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not report them.
    pub fn interface_statistics(&mut self) -> Result<Vec<(InterfaceIndex, CaptureStatistics)>> {
        self.taps.iter_mut().map(|tap| Ok((tap.interface, tap.statistics()?))).collect()
    }

    /// Returns the interfaces of the capture.
    pub fn interfaces(&self) -> impl Iterator<Item = CapturedInterface<'_>> {
        self.taps.iter().map(|tap| CapturedInterface {
            index: tap.interface,
            name: &tap.name,
            link_type: tap.link_type,
        })
    }

    /// Returns whether any interface delivers frames [in blocks](CaptureOptions::in_blocks).
    #[must_use]
    pub fn is_in_blocks(&self) -> bool {
        self.taps.iter().any(|tap| tap.is_in_blocks)
    }

    /// Returns why an interface delivers frames one by one although [`CaptureOptions::in_blocks`] requested
    /// blocks; `None` if all do as requested. The capture is slower then, but complete.
    #[must_use]
    pub fn block_error(&self) -> Option<&Error> {
        self.taps.iter().find_map(|tap| tap.block_error.as_ref())
    }

    /// Returns the receive buffer size in bytes that the system granted, the smallest of all interfaces. On
    /// Linux it includes the kernel's own bookkeeping.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not report it.
    pub fn buffer_size(&self) -> Result<usize> {
        let sizes = self.taps.iter().map(Tap::buffer_size).collect::<Result<Vec<_>>>()?;
        Ok(sizes.into_iter().min().unwrap_or_default())
    }

    /// Returns the position of the interface with the oldest frame. An interface whose batch is used up may
    /// still have older frames in the kernel than the others have here, so its batch is refilled first.
    fn earliest(&mut self) -> Result<Option<usize>> {
        let mut earliest = None;
        for (position, tap) in self.taps.iter_mut().enumerate() {
            while tap.peek().is_none() && tap.may_have_more() {
                tap.fill()?;
            }
            if let Some(time) = tap.peek()
                && earliest.is_none_or(|(best, _)| time < best)
            {
                earliest = Some((time, position));
            }
        }
        Ok(earliest.map(|(_, position)| position))
    }

    /// Refills all batches, and returns whether there was anything. All batches must be used up.
    fn fill(&mut self) -> Result<bool> {
        let mut any = false;
        for tap in &mut self.taps {
            any |= tap.fill()?;
        }
        Ok(any)
    }

    /// Waits, and returns whether there are frames; `false` after the timeout or a signal.
    fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        match self.poller.wait(timeout) {
            Ok(ready) => Ok(ready),
            Err(os) if os.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(os) => Err(match self.taps.first() {
                Some(tap) => tap.failed("wait for a frame", os),
                None => Error::new("wait for a frame", "no interface", ErrorKind::System),
            }),
        }
    }
}

/// Returns the loopback interfaces whose frames the system shows twice, as sent and as received.
fn loopbacks() -> Result<Vec<InterfaceIndex>> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Vec::new());
    }
    let interfaces = mcast_sys::interface::list().map_err(|os| Error::from_os("list", "interfaces", os))?;
    Ok(interfaces.iter().filter(|interface| interface.loopback).map(|interface| interface.index).collect())
}

/// Creates a poller of the taps.
fn open_poller(taps: &[Tap]) -> Result<Poller> {
    let add_all = |poller: &Poller| {
        taps.iter().enumerate().try_for_each(|(number, tap)| poller.add_capture(&tap.socket, number))
    };
    Poller::new()
        .and_then(|poller| add_all(&poller).map(|()| poller))
        .map_err(|os| Error::from_os("wait for frames", "several interfaces", os))
}

/// The descriptor is readable when the system has frames. Frames already fetched in a batch do not make it
/// readable: call [`Capture::next`] with a zero timeout until it returns `None`, and only then wait.
#[cfg(unix)]
impl std::os::fd::AsFd for Capture {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// One interface of a capture.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) socket: CaptureSocket,
    is_in_blocks: bool,
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
        let failed = |os| Error::from_os("capture", &name, os);
        let open = |in_blocks| open_socket(interface, options, ignore_outgoing, in_blocks);
        let (socket, block_error) = match open(options.in_blocks) {
            Ok(socket) => (socket, None),
            Err(os) if options.in_blocks => {
                let socket = open(false).map_err(failed)?;
                (socket, Some(Error::from_os("enable block delivery", &name, os)))
            }
            Err(os) => return Err(failed(os)),
        };
        let link_type = match socket.link_layer().map_err(failed)? {
            Ok(LinkLayer::Ethernet) => LinkType::Ethernet,
            Ok(LinkLayer::Ip) => LinkType::Ip,
            Ok(LinkLayer::Loopback) => LinkType::Loopback,
            Err(number) => return Err(Error::new("capture", &name, ErrorKind::LinkType(number))),
        };
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
    fn peek(&mut self) -> Option<SystemTime> {
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
    const fn may_have_more(&self) -> bool {
        self.batch.packets.len().checked_sub(capture::BATCH_PACKETS).is_some()
    }

    /// Fetches what the system has, and returns whether there was anything. The batch must be used up.
    fn fill(&mut self) -> Result<bool> {
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
    in_blocks: bool,
) -> io::Result<CaptureSocket> {
    let groups: Vec<_> =
        options.groups.iter().map(|group| HardwareAddress(MacAddress::of_group(*group).0)).collect();
    let settings = CaptureSettings {
        outgoing: options.outgoing && !ignore_outgoing.contains(&interface),
        promiscuous: options.promiscuous,
        all_multicast: options.all_multicast,
        hardware_groups: &groups,
        buffer_size: options.buffer_size,
        in_blocks,
        filter: &kernel_filter::program(options.filter).unwrap_or_default(),
    };
    CaptureSocket::open(interface, &settings)
}

const fn checksums_of(packet: &BatchPacket) -> Checksums {
    if packet.lacks_checksum { Checksums::LeftToDevice } else { Checksums::Computed }
}
