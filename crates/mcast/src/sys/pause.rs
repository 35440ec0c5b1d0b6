//! The fallback for systems without membership notices: it only waits.

use std::io;
use std::time::Duration;

/// Never reports a notice.
#[derive(Debug)]
pub(crate) struct Notices(());

impl Notices {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Waits for `timeout`; returns whether a notice arrived, which is never the case.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        std::thread::sleep(timeout);
        Ok(false)
    }
}
