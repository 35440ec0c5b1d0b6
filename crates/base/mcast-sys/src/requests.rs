//! Joining and leaving by the protocol-independent socket options of RFC 3678 section 5, common to
//! all Unix systems.

use std::io;
use std::mem::zeroed;
use std::net::IpAddr;

use mcast_group::{Group, InterfaceIndex, SourceFilter};

use super::address::request_address;
use super::socket::Socket;
use crate::cmsg::option_level;

impl Socket {
    /// Joins a group on an interface with this source filter.
    ///
    /// After an error, the group is not joined.
    pub fn join(&self, group: Group, interface: InterfaceIndex, filter: &SourceFilter) -> io::Result<()> {
        let result = match filter {
            SourceFilter::Include(sources) => sources.iter().try_for_each(|source| {
                self.source_request(libc::MCAST_JOIN_SOURCE_GROUP, group, interface, *source)
            }),
            SourceFilter::Exclude(sources) => {
                self.group_request(libc::MCAST_JOIN_GROUP, group, interface)?;
                sources.iter().try_for_each(|source| {
                    self.source_request(libc::MCAST_BLOCK_SOURCE, group, interface, *source)
                })
            }
        };
        if result.is_err() {
            // Leaving fails if nothing was joined yet, which is fine.
            let _ = self.leave(group, interface);
        }
        result
    }

    /// Leaves a group on an interface, for all sources.
    pub fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.group_request(libc::MCAST_LEAVE_GROUP, group, interface)
    }

    fn group_request(&self, option: libc::c_int, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        // SAFETY: `group_req` is plain data, for which zeroes are valid.
        let mut request: libc::group_req = unsafe { zeroed() };
        request.gr_interface = interface.number();
        request.gr_group = request_address(group.addr());
        self.set(option_level(group.family()), option, request)
    }

    fn source_request(
        &self,
        option: libc::c_int,
        group: Group,
        interface: InterfaceIndex,
        source: IpAddr,
    ) -> io::Result<()> {
        // SAFETY: `group_source_req` is plain data, for which zeroes are valid.
        let mut request: libc::group_source_req = unsafe { zeroed() };
        request.gsr_interface = interface.number();
        request.gsr_group = request_address(group.addr());
        request.gsr_source = request_address(source);
        self.set(option_level(group.family()), option, request)
    }
}
