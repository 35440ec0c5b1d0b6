//! One interface of a capture: its socket, and the frames that were taken from it in a batch.

use std::io;
use std::ops::Range;
use std::time::SystemTime;

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Segments};

use crate::batch::{Arrived, Batch};
use crate::options::InterfaceName;
use crate::sys::{self, Socket};
use crate::{CaptureOptions, Error, ErrorKind, Filter, Frame, Result, Statistics};

/// One interface of a capture.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) socket: Socket,
    pub(crate) is_in_blocks: bool,
    /// Why frames come one by one, where blocks were asked for.
    pub(crate) refusal: Option<Error>,
    pub(crate) interface: InterfaceIndex,
    /// What the system calls it.
    pub(crate) name: String,
    pub(crate) link_type: LinkType,
    filter: Filter,
    batch: Batch,
    cursor: Cursor,
    /// Where a datagram that is cut from a larger packet is put together.
    scratch: Vec<u8>,
    /// The frame to be given out next.
    ready: Option<Ready>,
    statistics: Statistics,
}

/// Where in the batch the frame after that is.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    arrived: usize,
    /// The number of the datagram within a packet that stands for several.
    segment: usize,
}

/// A frame that can be given out.
#[derive(Debug)]
struct Ready {
    arrived: Arrived,
    bytes: Bytes,
}

/// Where its bytes are.
#[derive(Debug)]
enum Bytes {
    Batch(Range<usize>),
    Scratch(Range<usize>),
}

impl Tap {
    pub(crate) fn open(wanted: &InterfaceName, options: &CaptureOptions) -> Result<Self> {
        let failed = |os| Error::from_os("capture", wanted, os);
        let interface = match wanted {
            InterfaceName::Index(index) => *index,
            InterfaceName::Name(name) => sys::interface_index(name).map_err(failed)?,
        };
        let name = match wanted {
            InterfaceName::Index(index) => sys::interface_name(*index).map_err(failed)?,
            InterfaceName::Name(name) => name.clone(),
        };
        let mut socket = Socket::open(interface, options).map_err(failed)?;
        let link_type = socket
            .link_type()
            .map_err(failed)?
            .map_err(|number| Error::new("capture", wanted, ErrorKind::LinkType(number)))?;
        let shared = if options.in_blocks { socket.share(options.buffer_size) } else { Ok(()) };
        let refusal = shared.err().map(|os| Error::from_os("capture in blocks", wanted, os));
        Ok(Self {
            socket,
            is_in_blocks: options.in_blocks && refusal.is_none(),
            refusal,
            interface,
            name,
            link_type,
            filter: options.filter,
            batch: Batch::new(sys::BATCH_BYTES),
            cursor: Cursor::default(),
            scratch: Vec::new(),
            ready: None,
            statistics: Statistics::default(),
        })
    }

    /// When the frame that is to be given out next came; `None` at the batch's end.
    pub(crate) fn peek(&mut self) -> Option<SystemTime> {
        if self.ready.is_none() {
            self.ready = self.advance();
        }
        self.ready.as_ref().map(|ready| ready.arrived.time)
    }

    /// Gives out the frame that [`Self::peek`] has shown.
    pub(crate) fn take(&mut self) -> Option<Frame<'_>> {
        let Ready { arrived, bytes } = self.ready.take()?;
        self.statistics.frames += 1;
        let (bytes, cut) = match bytes {
            Bytes::Batch(place) => (self.batch.memory.get(place), false),
            Bytes::Scratch(place) => (self.scratch.get(place), true),
        };
        let bytes = bytes.unwrap_or_default();
        Some(Frame {
            bytes,
            original_length: if cut { bytes.len() } else { arrived.original_length },
            link_type: self.link_type,
            interface: self.interface,
            direction: arrived.direction,
            time: arrived.time,
            checksums: if cut { Checksums::LeftToDevice } else { arrived.checksums },
            cut,
        })
    }

    /// Whether the system had more than fitted into the batch.
    pub(crate) const fn may_have_more(&self) -> bool {
        self.batch.arrived.len().checked_sub(sys::BATCH_PACKETS).is_some()
    }

    /// Takes what the system has, and says whether there was anything. The batch must have been read to
    /// its end.
    pub(crate) fn fill(&mut self) -> Result<bool> {
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

    pub(crate) fn statistics(&mut self) -> Result<Statistics> {
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
}
