//! The lock of a directory. The system releases it when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

/// The system's error for a file that another process has opened alone.
const SHARING_VIOLATION: i32 = 32;

/// Opens this file alone, which is created if there is none; `None` if another process has opened it.
pub(crate) fn exclusive(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().create(true).truncate(false).write(true).share_mode(0).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Ok(None),
        Err(error) => Err(error),
    }
}
