//! Frames from anywhere: what captures, files and simulators share.

use std::fmt;
use std::time::Duration;

use mcast_group::InterfaceIndex;

use crate::{Capture, CaptureFile, Error, FileError, Frame};

/// Where frames come from.
///
/// A [`Capture`] is one, and so is a [`CaptureFile`]: what takes a `dyn FrameSource` reads files as it reads
/// the wire, and is tested without either.
pub trait FrameSource {
    /// The next frame. Waits until there is one, or for `timeout`; zero does not wait at all. `None`: none
    /// came in time, a signal handler ran meanwhile, or there will be no more
    /// ([`is_at_end`](Self::is_at_end)). Files do not wait; a pipe that is read as a file does, whatever the
    /// time-out.
    ///
    /// # Errors
    /// As the source has them. A later call may go on: see [`Capture::next`] and [`CaptureFile::next`].
    fn next_frame(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>, SourceError>;

    /// Whether nothing more will come, as at the end of a file.
    fn is_at_end(&self) -> bool {
        false
    }

    /// What the interface of a frame is called, where anybody says it.
    fn interface_name(&self, interface: InterfaceIndex) -> Option<&str>;

    /// How many packets were lost before they got here, so far; `None` where nobody counted. A packet may
    /// stand for several datagrams, so that at least so many were lost.
    ///
    /// # Errors
    /// When the system does not tell.
    fn lost(&mut self) -> Result<Option<u64>, SourceError>;
}

/// Why a source gave no frame.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// A live capture failed.
    Capture(Error),
    /// A file could not be read, or not to its end.
    File(FileError),
}

impl SourceError {
    /// What helps, where something does.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Capture(error) => error.remedy(),
            Self::File(error) => error.remedy(),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Capture(error) => error,
            Self::File(error) => error,
        })
    }
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::Capture(error)
    }
}

impl From<FileError> for SourceError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl FrameSource for Capture {
    fn next_frame(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>, SourceError> {
        Ok(self.next(timeout)?)
    }

    fn interface_name(&self, interface: InterfaceIndex) -> Option<&str> {
        self.interfaces().find(|captured| captured.index == interface).map(|captured| captured.name)
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
        self.is_over()
    }

    fn interface_name(&self, interface: InterfaceIndex) -> Option<&str> {
        self.interface(interface)?.name.as_deref()
    }

    /// As the file says it: pcapng files may, behind the frames.
    fn lost(&mut self) -> Result<Option<u64>, SourceError> {
        let told = self.interfaces().iter().filter_map(|interface| interface.dropped);
        Ok(told.fold(None, |sum, dropped| Some(sum.unwrap_or(0) + dropped)))
    }
}
