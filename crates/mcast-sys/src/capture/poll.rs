//! Waiting for captures.

use std::io;
use std::os::fd::AsFd;

use super::CaptureSocket;
use crate::poller::Poller;

impl Poller {
    /// Registers a capture under this token.
    pub fn add_capture(&self, capture: &CaptureSocket, token: usize) -> io::Result<()> {
        self.add_descriptor(capture.as_fd(), token)
    }
}
