//! An interface common to live captures, files and simulators.

use std::time::Duration;

use crate::{Capture, CaptureFile, Error, FileError, Frame};

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
