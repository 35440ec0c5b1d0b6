//! Systems for which capturing is not implemented: opening a capture fails with the reason.

use std::io;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::LinkType;

use crate::batch::Batch;
use crate::{CaptureOptions, ErrorKind};

pub(crate) const BATCH_BYTES: usize = 0;
pub(crate) const BATCH_PACKETS: usize = 0;
pub(crate) const MAX_FRAME_BYTES: usize = 0;

/// Why capturing is not available.
const NEEDED: &str = if cfg!(windows) {
    "on Windows only drivers, such as Npcap, can see frames, and mcast uses none: frames, IGMP and MLD cannot be \
     captured; receiving joined groups (`mcast recv`) and reading capture files work"
} else {
    "capturing is not implemented for this system"
};

/// A capture, which cannot exist here.
#[derive(Debug)]
pub(crate) enum Socket {}

impl Socket {
    pub(crate) fn open(_interface: InterfaceIndex, _options: &CaptureOptions) -> io::Result<Self> {
        Err(unsupported())
    }

    pub(crate) fn link_type(&self) -> io::Result<Result<LinkType, u16>> {
        match *self {}
    }

    pub(crate) fn enable_blocks(&mut self, _bytes: usize) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn receive(&self, _batch: &mut Batch) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn take_dropped(&self) -> io::Result<u32> {
        match *self {}
    }

    pub(crate) fn buffer_size(&self) -> io::Result<usize> {
        match *self {}
    }
}

/// A poller, which cannot exist here.
#[derive(Debug)]
pub(crate) enum Poller {}

impl Poller {
    pub(crate) fn new<'a>(_sockets: impl Iterator<Item = &'a Socket>) -> io::Result<Self> {
        Err(unsupported())
    }

    pub(crate) fn wait(&self, _timeout: Option<Duration>) -> io::Result<bool> {
        match *self {}
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Poller {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match *self {}
    }
}

pub(crate) fn interface_index(_name: &str) -> io::Result<InterfaceIndex> {
    Err(unsupported())
}

pub(crate) fn interface_name(_interface: InterfaceIndex) -> io::Result<String> {
    Err(unsupported())
}

pub(crate) fn error_kind(os: &io::Error) -> ErrorKind {
    match os.kind() {
        io::ErrorKind::Unsupported => ErrorKind::Unsupported(NEEDED),
        _ => ErrorKind::System,
    }
}

pub(crate) fn is_unreadable(_os: &io::Error) -> bool {
    false
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
