//! Errors.

use std::fmt;
use std::io;
use std::path::PathBuf;

use mcast_stream_proto::wire::{KeyEpoch, StreamId};
use mcast_sys::{ClassifiedError, FailureClass};

use crate::format::{HeaderError, MAX_BODY};

/// What could not be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileOperation {
    /// Create a file or a directory.
    Create,
    /// Open a file.
    Open,
    /// List the directory.
    List,
    /// Lock the directory.
    Lock,
    /// Read a file.
    Read,
    /// Append to a file.
    Write,
    /// Sync a file or the directory to the disk.
    Sync,
    /// Rename a file.
    Rename,
    /// Remove a file.
    Remove,
}

impl fmt::Display for FileOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::List => "list",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
        })
    }
}

/// Why a log cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The system refused an operation. Nothing that was accepted is lost. A failed append has accepted nothing, and can
    /// be tried again.
    #[error("cannot {operation} {}", .path.display())]
    Io {
        /// What was refused.
        operation: FileOperation,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// A sync failed, so that it is unknown what the disk has. The writer refuses everything from now on. A new writer
    /// makes sure that what can still be read is on the disk.
    #[error("a sync of the log failed before: it must be opened again")]
    SyncFailed,
    /// Another writer has the log open.
    #[error("another publisher is writing the log in {}", .0.display())]
    InUse(PathBuf),
    /// The log is that of another stream.
    #[error("the log in {} belongs to stream {found}, not to {expected}", .path.display())]
    OtherStream {
        /// The directory.
        path: PathBuf,
        /// The stream of the log.
        found: StreamId,
        /// The expected one.
        expected: StreamId,
    },
    /// A segment has no valid header.
    #[error("cannot read {}", .path.display())]
    Header {
        /// The segment.
        path: PathBuf,
        /// Why.
        #[source]
        cause: HeaderError,
    },
    /// The secret that sealed a segment is not among the keys.
    #[error("cannot open the seal of {}: there is no key with epoch {}", .path.display(), .epoch.0)]
    NoKey {
        /// The segment.
        path: PathBuf,
        /// The epoch of the secret.
        epoch: KeyEpoch,
    },
    /// Another secret with the same epoch sealed a segment.
    #[error("another secret with epoch {} sealed {}", .epoch.0, .path.display())]
    OtherSecret {
        /// The segment.
        path: PathBuf,
        /// The epoch of both secrets.
        epoch: KeyEpoch,
    },
    /// A message is too long, or cannot be sealed.
    #[error("a message of {0} bytes does not fit into a record, which has at most {MAX_BODY} bytes")]
    TooLong(usize),
    /// There is no greater incarnation, or number, than those in the log.
    #[error("the log has used the last incarnation or number")]
    Exhausted,
    /// The log is empty: no segment was begun.
    #[error("there is no log in {}", .0.display())]
    Empty(PathBuf),
}

impl LogError {
    pub(crate) fn io(operation: FileOperation, path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { operation, path, cause }
    }

    /// Returns whether the disk, or a quota, is full.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { cause, .. } if matches!(cause.kind(), StorageFull | QuotaExceeded))
    }

    /// Returns whether the same append can be tried again, for example when there is space.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Io { operation, .. } if !matches!(operation, FileOperation::Sync))
    }
}

impl ClassifiedError for LogError {
    fn class(&self) -> Option<FailureClass> {
        Some(match self {
            Self::Io { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
                FailureClass::Permission
            }
            Self::OtherStream { .. } | Self::NoKey { .. } | Self::OtherSecret { .. } | Self::TooLong(_) => {
                FailureClass::Usage
            }
            _ => FailureClass::Environment,
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            _ if self.is_storage_full() => {
                "free space on the disk, or limit the log: --max-size 10G or --max-age 24h (in a program: `Retention`)"
                    .to_owned()
            }
            Self::Io { cause, .. } if cause.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                "use a directory on a disk that can be written".to_owned()
            }
            Self::Io { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
                "use a directory that this user may write, or run the command as its owner".to_owned()
            }
            Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotADirectory => {
                "name a directory, which need not exist".to_owned()
            }
            Self::InUse(_) => "stop the other publisher, or use another directory".to_owned(),
            Self::OtherStream { .. } => "use one directory for each stream".to_owned(),
            Self::Header { cause: HeaderError::Version(1), .. } => {
                "export it with the version of mcast that wrote it (`mcast log export`), and use another directory".to_owned()
            }
            Self::Header { cause: HeaderError::Version(_), .. } => "use a newer version of mcast".to_owned(),
            Self::Header { .. } => "move the file away to continue without its messages".to_owned(),
            Self::NoKey { epoch, .. } => format!("add the secret with epoch {} to the file of --key", epoch.0),
            Self::OtherSecret { .. } => "use the key file with which the log was written".to_owned(),
            Self::SyncFailed => "check the disk, and start the publisher again".to_owned(),
            _ => return None,
        })
    }
}
