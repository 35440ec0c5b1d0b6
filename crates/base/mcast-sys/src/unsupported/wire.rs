//! Systems on which datagrams are received by sockets only.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use mcast_group::{GroupAddr, InterfaceIndex};

use crate::poller::Poller;
use crate::socket::Socket;

/// Settings of an interface's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireSettings {
    /// The number of frames that each ring holds.
    pub slots: u32,
    /// Whether to note the time of each frame.
    pub times: bool,
}

/// Never exists.
#[derive(Debug)]
pub enum WireProgram {}

/// Never exists.
#[derive(Debug)]
pub enum FrameRing {}

/// Never exists.
#[derive(Clone, Debug)]
pub enum Bystanders {}

/// Never exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bystander {}

/// A frame taken off an interface.
#[derive(Clone, Copy, Debug)]
pub struct WireFrame<'a> {
    /// The frame from the link layer on.
    pub bytes: &'a [u8],
    /// When the driver received it.
    pub time: Option<u64>,
}

/// Why the datagrams of an interface cannot be taken off it.
#[derive(Debug)]
#[non_exhaustive]
pub enum WireRefusal {
    /// The process lacks a right. Never the reason here.
    Rights,
    /// The rings need more locked memory than is allowed. Never the reason here.
    LockedMemory,
    /// The system does not support it.
    Unsupported,
}

impl WireProgram {
    /// Returns an error.
    pub fn open(
        _interface: InterfaceIndex,
        _settings: WireSettings,
    ) -> Result<(Self, Vec<FrameRing>), WireRefusal> {
        Err(WireRefusal::Unsupported)
    }

    /// Is never called.
    pub fn take(&self, _address: GroupAddr) -> io::Result<()> {
        match *self {}
    }

    /// Is never called.
    pub fn leave(&self, _address: GroupAddr) -> io::Result<()> {
        match *self {}
    }

    /// Is never called.
    #[must_use]
    pub const fn leaves_checksums(&self) -> bool {
        match *self {}
    }
}

impl FrameRing {
    /// Is never called.
    pub fn take(&mut self, _limit: usize, _handle: impl FnMut(u32, WireFrame<'_>) -> bool) -> usize {
        match *self {}
    }

    /// Is never called.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        match *self {}
    }

    /// Is never called.
    #[must_use]
    pub const fn next_number(&self) -> u32 {
        match *self {}
    }

    /// Is never called.
    pub fn drops(&self) -> io::Result<u64> {
        match *self {}
    }

    /// Is never called.
    pub fn failure(&self) -> Option<io::Error> {
        match *self {}
    }

    /// Is never called.
    pub fn register(&self, _poller: &Poller, _token: usize) -> io::Result<()> {
        match *self {}
    }

    /// Is never called.
    pub fn unregister(&self, _poller: &Poller) -> io::Result<()> {
        match *self {}
    }
}

impl Bystanders {
    /// Returns an error.
    pub fn read() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Is never called.
    #[must_use]
    pub fn of(
        &self,
        _address: GroupAddr,
        _interface: InterfaceIndex,
        _name: &str,
        _own: &BTreeSet<u64>,
    ) -> Option<Bystander> {
        match *self {}
    }
}

impl Bystander {
    /// Is never called.
    #[must_use]
    pub fn describe(self) -> String {
        match self {}
    }
}

/// Returns an error.
pub fn inode(_socket: &Socket) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns an error.
pub fn in_namespace() -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

impl fmt::Display for WireRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this system has no AF_XDP")
    }
}

impl std::error::Error for WireRefusal {}
