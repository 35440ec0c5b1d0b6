//! What the standard library offers on systems other than Unix, which have neither hang-ups nor file modes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) fn catch_hangups(_arrived: Arc<AtomicBool>) -> io::Result<()> {
    Ok(())
}

/// The rights of the folder decide who may read the file.
#[cfg(feature = "seal")]
pub(crate) fn create_private(path: &std::path::Path) -> io::Result<std::fs::File> {
    std::fs::File::options().write(true).create_new(true).open(path)
}

/// Always `false`: the standard library does not show who may read a file.
#[cfg(feature = "seal")]
pub(crate) fn others_may_read(_path: &std::path::Path) -> bool {
    false
}
