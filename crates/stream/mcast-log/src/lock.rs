//! The lock of a directory. The system releases it when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Locks this file, which is created if there is none; `None` if another process has locked it.
pub(crate) fn exclusive(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    system::exclusive(&mut options, path)
}

#[cfg(not(windows))]
mod system {
    //! A lock on the open file. (`File::try_lock` of the standard library needs a newer Rust.)

    use std::fs::{File, OpenOptions};
    use std::io;
    use std::path::Path;

    use rustix::fs::{FlockOperation, flock};

    pub(super) fn exclusive(options: &mut OpenOptions, path: &Path) -> io::Result<Option<File>> {
        let file = options.open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(windows)]
mod system {
    //! A file that is opened alone.

    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::windows::fs::OpenOptionsExt;
    use std::path::Path;

    /// The system's error for a file that another process has opened alone.
    const SHARING_VIOLATION: i32 = 32;

    pub(super) fn exclusive(options: &mut OpenOptions, path: &Path) -> io::Result<Option<File>> {
        match options.share_mode(0).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
