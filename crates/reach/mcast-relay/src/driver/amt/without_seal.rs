//! Relays of AMT in a build without hashes: there are none.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use mcast_group::{Group, SourceFilter};
use mcast_pace::ClockTime;
use mcast_sys::socket::Socket;

use crate::driver::{AmtStatistics, DriverError};

/// A relay of AMT, of which there is none.
#[derive(Debug)]
pub(in crate::driver) struct AmtListener {
    pub(in crate::driver) socket: Socket,
    none: Infallible,
}

impl AmtListener {
    pub(in crate::driver) fn open(address: SocketAddr) -> Result<Self, DriverError> {
        let source = std::io::ErrorKind::Unsupported.into();
        Err(DriverError::AmtListener { address, source })
    }

    pub(in crate::driver) fn receive(&mut self, _: ClockTime, _: &mut [u8]) -> bool {
        match self.none {}
    }

    pub(in crate::driver) fn wanted(&self) -> BTreeMap<Group, SourceFilter> {
        match self.none {}
    }

    pub(in crate::driver) fn deadline(&self) -> Option<ClockTime> {
        match self.none {}
    }

    pub(in crate::driver) fn add_to(&self, _: &mut AmtStatistics) {
        match self.none {}
    }

    pub(in crate::driver) fn do_due(&mut self, _: ClockTime) -> bool {
        match self.none {}
    }

    pub(in crate::driver) fn send(&mut self, _: SocketAddr, _: SocketAddr, _: u8, _: &[u8]) -> bool {
        match self.none {}
    }
}
