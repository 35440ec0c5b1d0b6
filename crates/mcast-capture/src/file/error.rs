//! What failed, in which file, where, and why.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What failed, in which file, and why; [`Self::remedy`] says what helps, where something does.
pub struct FileError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    operation: &'static str,
    path: PathBuf,
    kind: FileErrorKind,
    os: Option<io::Error>,
}

/// Why it failed, as far as programs can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// The file starts as no capture file does.
    NotACapture,
    /// The file ends within a record: whoever wrote it was stopped, or still writes. All that came
    /// before has been read.
    CutOff {
        /// Where in the file the record starts, in bytes.
        offset: u64,
    },
    /// A record contradicts itself, so that what follows cannot be found.
    Malformed {
        /// Where in the file the record starts, in bytes.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file's format has only one link type, and another one was already written.
    OtherLinkType,
    /// The system refused: [`std::error::Error::source`]. When writing, what did not fit is kept in
    /// memory, and is written once there is room.
    System,
}

impl FileError {
    pub(super) fn new(operation: &'static str, path: &Path, kind: FileErrorKind) -> Self {
        Self(Box::new(Inner { operation, path: path.to_owned(), kind, os: None }))
    }

    pub(super) fn from_os(operation: &'static str, path: &Path, os: io::Error) -> Self {
        let kind = FileErrorKind::System;
        Self(Box::new(Inner { operation, path: path.to_owned(), kind, os: Some(os) }))
    }

    /// Why it failed.
    #[must_use]
    pub fn kind(&self) -> FileErrorKind {
        self.0.kind
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What helps, where something does.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        let full = |os: &io::Error| {
            let kinds =
                [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
            kinds.contains(&os.kind())
        };
        match (self.0.kind, &self.0.os) {
            (FileErrorKind::System, Some(os)) if full(os) => {
                Some("make room or write elsewhere; the file can be read as far as it goes")
            }
            (FileErrorKind::CutOff { .. }, _) => Some("all frames before that place have been read"),
            (FileErrorKind::OtherLinkType, _) => Some("write pcapng, which has a link type an interface"),
            _ => None,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { operation, path, kind, os } = &*self.0;
        write!(f, "cannot {operation} {}: ", path.display())?;
        match (kind, os) {
            (FileErrorKind::NotACapture, _) => f.write_str("it is neither pcap nor pcapng")?,
            (FileErrorKind::CutOff { offset }, _) => {
                write!(f, "it ends within the record at byte {offset}")?;
            }
            (FileErrorKind::Malformed { offset, reason }, _) => {
                write!(f, "the record at byte {offset} {reason}")?;
            }
            (FileErrorKind::OtherLinkType, _) => f.write_str("a pcap file has only one link type")?,
            (FileErrorKind::System, Some(os)) => os.fmt(f)?,
            (FileErrorKind::System, None) => f.write_str("the system refused")?,
        }
        Ok(())
    }
}

impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.os.as_ref().map(|os| os as _)
    }
}
