//! The fallback for systems without membership notices: it only waits.

use std::io;
use std::time::Duration;

/// Never reports a notice.
#[derive(Debug)]
pub struct Notices(());

impl Notices {
    /// Starts to receive notices.
    pub fn open() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Waits for `timeout`; returns whether a notice arrived, which is never the case.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        std::thread::sleep(timeout);
        Ok(false)
    }
}
