//! Systems for which capturing is not implemented: opening a capture fails with the reason.

#![allow(missing_docs, reason = "the contract at the head of the parent module describes these items")]

use std::io;

use mcast_group::InterfaceIndex;

use super::{CaptureSettings, LinkLayer, PacketBatch};

pub const BATCH_BYTES: usize = 0;
pub const BATCH_PACKETS: usize = 0;
pub const MAX_FRAME_BYTES: usize = 0;

/// Why capturing is not available.
const NEEDED: &str = if cfg!(windows) {
    "on Windows only drivers, such as Npcap, can see frames, and mcast uses none: frames, IGMP and MLD cannot be \
     captured; receiving joined groups (`mcast recv`) and reading capture files work"
} else {
    "capturing is not implemented for this system"
};

/// A capture, which cannot exist here.
#[derive(Debug)]
pub enum CaptureSocket {}

impl CaptureSocket {
    pub fn open(_interface: InterfaceIndex, _settings: &CaptureSettings<'_>) -> io::Result<Self> {
        Err(unsupported())
    }

    pub fn link_layer(&self) -> io::Result<Result<LinkLayer, u16>> {
        match *self {}
    }

    pub fn receive(&self, _batch: &mut PacketBatch) -> io::Result<()> {
        match *self {}
    }

    pub fn take_dropped(&self) -> io::Result<u32> {
        match *self {}
    }

    pub fn buffer_size(&self) -> io::Result<usize> {
        match *self {}
    }
}

impl crate::poller::Poller {
    pub fn add_capture(&self, capture: &CaptureSocket, _token: usize) -> io::Result<()> {
        match *capture {}
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for CaptureSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match *self {}
    }
}

pub fn missing(os: &io::Error) -> Option<&'static str> {
    (os.kind() == io::ErrorKind::Unsupported).then_some(NEEDED)
}

pub fn is_unreadable(_os: &io::Error) -> bool {
    false
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
