//! Systems on which capturing has yet to be written: opening says what it will need.

use std::io;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::LinkType;

use crate::batch::Batch;
use crate::{CaptureOptions, ErrorKind};

pub(crate) const BATCH_BYTES: usize = 0;
pub(crate) const BATCH_PACKETS: usize = 0;
pub(crate) const LONGEST_FRAME: usize = 0;

/// What capturing needs here.
const NEEDED: &str = if cfg!(windows) {
    "Windows gives frames to drivers alone, such as Npcap's, and none is used here: neither frames nor IGMP \
     and MLD can be seen; what is joined can (`mcast recv`), and capture files can be read"
} else {
    "capturing has yet to be written for this system"
};

/// A capture that cannot be had.
#[derive(Debug)]
pub(crate) enum Socket {}

impl Socket {
    pub(crate) fn open(_interface: InterfaceIndex, _options: &CaptureOptions) -> io::Result<Self> {
        Err(unsupported())
    }

    pub(crate) fn link_type(&self) -> io::Result<Result<LinkType, u16>> {
        match *self {}
    }

    pub(crate) fn share(&mut self, _bytes: usize) -> io::Result<()> {
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

/// Waits for captures that cannot be had.
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
