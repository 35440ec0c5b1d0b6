//! Capture files in the formats pcap and pcapng, as used by tcpdump, tshark and Wireshark.
//!
//! The crate pcap-file splits files into records and writes them. The options of pcapng records are parsed
//! here, because that crate rejects files that other programs accept: files with clocks that count in powers
//! of two, or with option lists without an end marker.

mod cooked_interfaces;
mod formats;
mod reader;
mod recorder;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use mcast_sys::{ClassifiedError, FailureClass};

use crate::error::reason;
pub use formats::{FileInterface, LinkNumber};
pub use reader::{CaptureFile, FileFormat, FileStatistics};
pub use recorder::{RecordedFile, Recorder, RecorderEvent, RecorderOptions};
pub use writer::{CaptureWriter, WriteFormat};

/// An error of a capture file: what failed, in which file, and why. [`Self::remedy`] returns what to do about
/// it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct FileError(Box<Inner>);

/// The parts of an error, in a box so that a `Result` stays small.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {operation} {}: {}",
    .path.display(),
    reason(.kind, *.kind == FileErrorKind::System, .os.as_ref())
)]
struct Inner {
    operation: &'static str,
    path: PathBuf,
    kind: FileErrorKind,
    #[source]
    os: Option<io::Error>,
}

/// The cause of an error, for programs to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// The file does not start like a capture file.
    #[error("not a pcap or pcapng file")]
    NotACapture,
    /// The file ends within a record, because the program that wrote it was stopped or is still writing. All
    /// frames before have been read.
    #[error("the file ends within the record at byte {offset}; all frames before have been read")]
    Truncated {
        /// The position of the record in the file, in bytes.
        offset: u64,
    },
    /// A record is inconsistent, so the position of the next one is unknown.
    #[error("the record at byte {offset} {reason}")]
    Malformed {
        /// The position of the record in the file, in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file's format allows only one link type, and another one has been written.
    #[error("a pcap file can have only one link type")]
    LinkTypeMismatch,
    /// The file to create exists already.
    #[error("it already exists")]
    AlreadyExists,
    /// The reader has closed the pipe, so nothing more can be written.
    #[error("the reader has closed the pipe")]
    BrokenPipe,
    /// The system reported an error: [`std::error::Error::source`]. When writing, frames that did not fit are
    /// kept in memory, and written once there is room.
    #[error("unknown system error")]
    System,
}

impl FileError {
    /// The operation while a file is still empty.
    const WRITE_START: &str = "write the start of";

    fn new(operation: &'static str, path: &Path, kind: FileErrorKind) -> Self {
        Self(Box::new(Inner { operation, path: path.to_owned(), kind, os: None }))
    }

    fn from_os(operation: &'static str, path: &Path, os: io::Error) -> Self {
        let kind = match os.kind() {
            io::ErrorKind::AlreadyExists => FileErrorKind::AlreadyExists,
            io::ErrorKind::BrokenPipe => FileErrorKind::BrokenPipe,
            _ => FileErrorKind::System,
        };
        Self(Box::new(Inner { operation, path: path.to_owned(), kind, os: Some(os) }))
    }

    /// Returns the cause.
    #[must_use]
    pub fn kind(&self) -> FileErrorKind {
        self.0.kind
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns what to do about the error, if anything helps.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        let full = |os: &io::Error| {
            let kinds =
                [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
            kinds.contains(&os.kind())
        };
        match (self.0.kind, &self.0.os) {
            (FileErrorKind::System, Some(os)) if full(os) && self.0.operation == Self::WRITE_START => {
                Some("make room or write elsewhere")
            }
            (FileErrorKind::System, Some(os)) if full(os) => {
                Some("make room or write elsewhere; the file is readable up to this point")
            }
            (FileErrorKind::System, Some(os)) if os.kind() == io::ErrorKind::PermissionDenied => {
                Some("use a file and a directory for which this user has the permission")
            }
            (FileErrorKind::LinkTypeMismatch, _) => Some("write pcapng, which has a link type per interface"),
            _ => None,
        }
    }
}

impl ClassifiedError for FileError {
    fn class(&self) -> Option<FailureClass> {
        // The system's error, if there is one, decides.
        self.0.os.is_none().then_some(FailureClass::Environment)
    }

    fn remedy(&self) -> Option<String> {
        self.remedy().map(Into::into)
    }
}
