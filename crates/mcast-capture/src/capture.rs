//! The capture: frames one by one, out of batches.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Segments};

use crate::batch::{Arrived, Batch};
use crate::options::InterfaceName;
use crate::sys::{self, Socket};
use crate::{CaptureOptions, Error, ErrorKind, Filter, Frame, Result};

/// An open capture on one interface.
#[derive(Debug)]
pub struct Capture {
    socket: Socket,
    interface: InterfaceIndex,
    name: InterfaceName,
    link_type: LinkType,
    filter: Filter,
    batch: Batch,
    cursor: Cursor,
    /// Where a datagram that is cut from a larger packet is put together.
    scratch: Vec<u8>,
    statistics: Statistics,
}

/// The frame to be given out next.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    arrived: usize,
    /// The number of the datagram within a packet that stands for several.
    segment: usize,
}

/// What a capture has seen since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that [`Capture::next`] gave out.
    pub frames: u64,
    /// Packets that the kernel dropped because the buffer was full. A packet may stand for several
    /// datagrams, so that at least so many were lost. What the filter refuses is not counted, except
    /// where only a look behind VLAN tags or IPv6 extension headers would have told.
    pub dropped: u64,
    /// Packets that the kernel had but could not hand over: UDP with GSO on Linux before 6.2.
    pub unreadable: u64,
}

impl Capture {
    /// Starts to capture. Frames are kept from now on, until [`Self::next`] takes them.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`] without the right to capture, [`ErrorKind::NoSuchInterface`],
    /// [`ErrorKind::LinkType`] when the interface carries neither Ethernet nor IP,
    /// [`ErrorKind::Unsupported`] on systems where capturing has yet to be written.
    pub fn open(options: CaptureOptions) -> Result<Self> {
        let failed = |os| Error::from_os("capture", &options.interface, os);
        let interface = match &options.interface {
            InterfaceName::Index(index) => *index,
            InterfaceName::Name(name) => sys::interface_index(name).map_err(failed)?,
        };
        let socket = Socket::open(interface, &options).map_err(failed)?;
        let link_type = socket
            .link_type()
            .map_err(failed)?
            .map_err(|number| Error::new("capture", &options.interface, ErrorKind::LinkType(number)))?;
        Ok(Self {
            socket,
            interface,
            link_type,
            filter: options.filter,
            name: options.interface,
            batch: Batch::new(sys::BATCH_BYTES),
            cursor: Cursor::default(),
            scratch: Vec::new(),
            statistics: Statistics::default(),
        })
    }

    /// The next frame. Waits until there is one, or for `timeout`; zero does not wait at all.
    ///
    /// `None` says that no frame came in time, or that a signal handler ran in this thread meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::InterfaceDown`] once when the interface goes down; a later call waits on until it
    /// is up again. [`ErrorKind::System`] for what the system says.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(ready) = self.advance() {
                self.statistics.frames += 1;
                return Ok(Some(self.frame(&ready)));
            }
            if self.fill()? {
                continue;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || !self.wait(left)? {
                return Ok(None);
            }
        }
    }

    /// What was seen and what was lost so far.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not tell.
    pub fn statistics(&mut self) -> Result<Statistics> {
        let dropped = self.socket.take_dropped().map_err(|os| self.failed("read the statistics", os))?;
        self.statistics.dropped += u64::from(dropped);
        Ok(self.statistics)
    }

    /// The interface that is captured on.
    #[must_use]
    pub const fn interface(&self) -> InterfaceIndex {
        self.interface
    }

    /// What every frame starts with.
    #[must_use]
    pub const fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// The receive buffer in bytes that the system granted. Linux counts its own bookkeeping too.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not tell.
    pub fn buffer_size(&self) -> Result<usize> {
        self.socket.buffer_size().map_err(|os| self.failed("read the buffer size", os))
    }

    /// Goes on to the next frame of the batch that the filter admits; `None` at the batch's end.
    fn advance(&mut self) -> Option<Ready> {
        loop {
            let arrived = self.batch.arrived.get(self.cursor.arrived)?.clone();
            let segment = self.cursor.segment;
            match self.cut(&arrived, segment) {
                Some(length) => {
                    self.cursor.segment += 1;
                    return Some(Ready { arrived, bytes: Bytes::Scratch(0..length) });
                }
                None => self.cursor = Cursor { arrived: self.cursor.arrived + 1, segment: 0 },
            }
            // A packet of which at least one datagram was cut has been given out whole.
            if segment == 0 && self.filter.admits(self.batch.bytes(&arrived), self.link_type) {
                let bytes = Bytes::Batch(arrived.place.clone());
                return Some(Ready { arrived, bytes });
            }
        }
    }

    /// Puts the datagram of this number into the scratch memory, and says how long its frame is.
    /// `None` when the packet is no larger one, or has no further datagram.
    fn cut(&mut self, arrived: &Arrived, number: usize) -> Option<usize> {
        let size = arrived.segment_size?;
        let bytes = self.batch.bytes(arrived);
        let segments = Segments::new(bytes, self.link_type, arrived.checksums, size)?;
        if number >= segments.len() || !self.filter.admits(bytes, self.link_type) {
            return None;
        }
        self.scratch.resize(sys::LONGEST_FRAME, 0);
        segments.emit(number, &mut self.scratch).ok()
    }

    fn frame(&self, ready: &Ready) -> Frame<'_> {
        let (bytes, cut) = match &ready.bytes {
            Bytes::Batch(place) => (self.batch.memory.get(place.clone()), false),
            Bytes::Scratch(place) => (self.scratch.get(place.clone()), true),
        };
        let bytes = bytes.unwrap_or_default();
        Frame {
            bytes,
            original_length: if cut { bytes.len() } else { ready.arrived.original_length },
            link_type: self.link_type,
            interface: self.interface,
            direction: ready.arrived.direction,
            time: ready.arrived.time,
            checksums: if cut { Checksums::LeftToDevice } else { ready.arrived.checksums },
            cut,
        }
    }

    /// Takes what the system has, and says whether there was anything.
    fn fill(&mut self) -> Result<bool> {
        self.cursor = Cursor::default();
        self.batch.arrived.clear();
        match self.socket.receive(&mut self.batch) {
            Ok(()) => Ok(!self.batch.arrived.is_empty()),
            Err(os) if os.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(os) if sys::is_unreadable(&os) => {
                self.statistics.unreadable += 1;
                Ok(false)
            }
            Err(os) => Err(self.failed("capture", os)),
        }
    }

    /// Whether there is something to take now. `false` after the time-out or a signal.
    fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        match self.socket.wait(timeout) {
            Ok(ready) => Ok(ready),
            Err(os) if os.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(os) => Err(self.failed("wait for a frame", os)),
        }
    }

    fn failed(&self, operation: &'static str, os: io::Error) -> Error {
        Error::from_os(operation, &self.name, os)
    }
}

/// A frame that can be given out.
struct Ready {
    arrived: Arrived,
    bytes: Bytes,
}

/// Where its bytes are.
enum Bytes {
    Batch(Range<usize>),
    Scratch(Range<usize>),
}

/// Readable when the system has frames. Frames that were taken in a batch do not show here: call
/// [`Capture::next`] with a zero time-out until it gives `None`, and only then wait.
#[cfg(unix)]
impl std::os::fd::AsFd for Capture {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
