//! Opening sockets is not supported.

use std::io;
use std::net::SocketAddr;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

pub use crate::plain::ReceiveSlots;
use crate::{Received, SendRequest};

/// An uninhabited type, because opening a socket fails.
#[derive(Debug)]
pub enum Socket {}

impl Socket {
    pub fn open(_family: Family) -> io::Result<Self> {
        super::unsupported()
    }

    pub fn bound_to_group(_group: Group, _port: u16, _interface: Option<InterfaceIndex>) -> io::Result<Self> {
        super::unsupported()
    }

    pub fn wildcard(_family: Family, _port: u16) -> io::Result<Self> {
        super::unsupported()
    }

    pub fn holder(_family: Family) -> io::Result<Self> {
        super::unsupported()
    }

    pub fn bind(&self, _address: SocketAddr) -> io::Result<()> {
        match *self {}
    }

    pub fn share_port(&self) -> io::Result<()> {
        match *self {}
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    pub fn receive_bare(&self, _buffer: &mut [u8]) -> io::Result<Received> {
        match *self {}
    }

    pub fn disable_details(&self) -> io::Result<()> {
        match *self {}
    }

    pub fn set_pktinfo(&self, _on: bool) -> io::Result<()> {
        match *self {}
    }

    pub fn receive_details(&self) -> io::Result<()> {
        match *self {}
    }

    pub fn only_own_memberships(&self, _only: bool) -> io::Result<()> {
        match *self {}
    }

    pub fn join(&self, _group: Group, _interface: InterfaceIndex, _filter: &SourceFilter) -> io::Result<()> {
        match *self {}
    }

    pub fn change_filter(
        &self,
        _group: Group,
        _interface: InterfaceIndex,
        _filter: &SourceFilter,
    ) -> io::Result<()> {
        match *self {}
    }

    pub fn leave(&self, _group: Group, _interface: InterfaceIndex) -> io::Result<()> {
        match *self {}
    }

    pub fn set_hop_limit(&self, _hops: u8) -> io::Result<()> {
        match *self {}
    }

    pub fn set_unicast_hop_limit(&self, _hops: u8) -> io::Result<()> {
        match *self {}
    }

    pub fn allow_broadcast(&self) -> io::Result<()> {
        match *self {}
    }

    pub fn set_traffic_class(&self, _class: u8) -> io::Result<()> {
        match *self {}
    }

    pub fn set_send_loopback(&self, _on: bool) -> io::Result<()> {
        match *self {}
    }

    pub fn set_receive_loopback(&self, _on: bool) -> io::Result<()> {
        match *self {}
    }

    pub fn set_dont_fragment(&self, _on: bool) -> io::Result<()> {
        match *self {}
    }

    pub fn report_queue_drops(&self) -> io::Result<()> {
        match *self {}
    }

    pub fn set_receive_buffer(&self, _bytes: usize) -> io::Result<usize> {
        match *self {}
    }

    pub fn set_send_buffer(&self, _bytes: usize) -> io::Result<usize> {
        match *self {}
    }

    pub fn drops(&self) -> io::Result<Option<u32>> {
        match *self {}
    }

    pub fn receive(&self, _buffer: &mut [u8]) -> io::Result<Received> {
        match *self {}
    }

    pub fn send(&self, _transmit: &SendRequest<'_>) -> io::Result<()> {
        match *self {}
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match *self {}
    }
}
