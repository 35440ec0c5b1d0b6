//! One captured frame, and what frames come from: live captures, files and simulators.

use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Packet};
use mcast_sys::Direction;

use crate::{Capture, CaptureFile, Error, FileError};

/// One frame and its metadata. Its bytes belong to the capture and are valid until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The frame, without the frame check sequence.
    pub bytes: &'a [u8],
    /// The original length of the frame; larger than the length of `bytes` if the frame was truncated.
    pub original_length: usize,
    /// The link type, which determines what `bytes` starts with.
    pub link_type: LinkType,
    /// The interface: in a live capture its index, in a file its number within the file, from 1.
    pub interface: InterfaceIndex,
    /// The name of the interface, if it is known. A name in a file may contain any characters.
    pub interface_name: Option<&'a str>,
    /// Whether it was received or sent.
    pub direction: Direction,
    /// When the kernel saw it. Linux: in nanoseconds, by `SO_TIMESTAMPNS`. In a file: as recorded.
    pub time: SystemTime,
    /// Whether the transport checksum in `bytes` is the one on the wire.
    pub checksums: Checksums,
    /// Whether the kernel carried this datagram in a coalesced packet (GSO, GRO), from which it was
    /// extracted. Its checksum is then recomputed.
    pub resegmented: bool,
}

impl<'a> Frame<'a> {
    /// Returns the decoded layers of the frame.
    #[must_use]
    pub fn packet(&self) -> Packet<'a> {
        Packet::decode(self.bytes, self.link_type, self.checksums)
    }
}

/// A source of frames.
///
/// [`Capture`] and [`CaptureFile`] implement it: code that takes a `dyn FrameSource` works with both, and can
/// be tested with neither.
pub trait FrameSource {
    /// Returns the next frame. Waits until there is one, at most for `timeout`; zero does not wait. Returns
    /// `None` if no frame arrived in time, if a signal handler ran, or if there are no more frames
    /// ([`is_at_end`](Self::is_at_end)). Reading a file does not wait; reading a pipe as a file does,
    /// regardless of the timeout.
    ///
    /// # Errors
    /// Depend on the source. A later call may continue: see [`Capture::next`] and [`CaptureFile::next`].
    fn next_frame(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>, SourceError>;

    /// Returns whether there are no more frames, as at the end of a file.
    fn is_at_end(&self) -> bool {
        false
    }

    /// Returns the number of packets lost before they reached this source; `None` if it was not counted. A
    /// packet may be several coalesced datagrams, so at least this many were lost.
    ///
    /// # Errors
    /// When the system does not report it.
    fn lost(&mut self) -> Result<Option<u64>, SourceError>;
}

/// The reason why a source could not return a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A live capture failed.
    #[error("{0}")]
    Capture(#[from] Error),
    /// A file could not be read, or not to its end.
    #[error("{0}")]
    File(#[from] FileError),
}

impl SourceError {
    /// Returns what to do about the error, if anything helps.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Capture(error) => error.remedy(),
            Self::File(error) => error.remedy(),
        }
    }
}

impl FrameSource for Capture {
    fn next_frame(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>, SourceError> {
        Ok(self.next(timeout)?)
    }

    fn lost(&mut self) -> Result<Option<u64>, SourceError> {
        let statistics = self.statistics()?;
        Ok(Some(statistics.dropped + statistics.unreadable))
    }
}

impl FrameSource for CaptureFile {
    fn next_frame(&mut self, _timeout: Option<Duration>) -> Result<Option<Frame<'_>>, SourceError> {
        Ok(self.next()?)
    }

    fn is_at_end(&self) -> bool {
        self.is_at_end()
    }

    /// Returns the count stated in the file; in pcapng it may follow the frames.
    fn lost(&mut self) -> Result<Option<u64>, SourceError> {
        let dropped = self.interfaces().iter().filter_map(|interface| interface.dropped);
        Ok(dropped.fold(None, |sum, dropped| Some(sum.unwrap_or(0) + dropped)))
    }
}
