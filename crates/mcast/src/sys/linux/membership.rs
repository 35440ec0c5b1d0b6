//! Joining and leaving, by the protocol-independent options of RFC 3678 section 5.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

use super::address::storage;
use super::socket::{Socket, as_bytes};

impl Socket {
    /// Joins a group on an interface for the sources of this filter.
    ///
    /// After an error nothing is joined.
    pub(crate) fn join(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
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
            // Nothing may be joined yet, which is what is wanted.
            let _ = self.leave(group, interface);
        }
        result
    }

    /// Replaces the filter of a group that is joined, at once.
    pub(crate) fn change_filter(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let (mode, sources) = match filter {
            SourceFilter::Include(sources) => (libc::MCAST_INCLUDE as u32, sources),
            SourceFilter::Exclude(sources) => (libc::MCAST_EXCLUDE as u32, sources),
        };
        // `struct group_filter` of RFC 3678 section 5.1.2: a head, then a list of addresses.
        let head = GroupFilterHead {
            interface: interface.number(),
            group: storage(SocketAddr::new(group.addr(), 0)).0,
            mode,
            count: sources.len() as u32,
        };
        let list: Vec<libc::sockaddr_storage> =
            sources.iter().map(|source| storage(SocketAddr::new(*source, 0)).0).collect();
        let mut bytes = Vec::with_capacity(size_of::<GroupFilterHead>() + size_of_val(&list[..]));
        bytes.extend_from_slice(as_bytes(std::slice::from_ref(&head)));
        bytes.extend_from_slice(as_bytes(&list));
        self.set_bytes(level(group.family()), libc::MCAST_MSFILTER, &bytes)
    }

    /// Leaves a group on an interface, for all sources.
    pub(crate) fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.group_request(libc::MCAST_LEAVE_GROUP, group, interface)
    }

    fn group_request(&self, option: libc::c_int, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        // SAFETY: `group_req` is plain data, for which zeroes are a value.
        let mut request: libc::group_req = unsafe { zeroed() };
        request.gr_interface = interface.number();
        request.gr_group = storage(SocketAddr::new(group.addr(), 0)).0;
        self.set(level(group.family()), option, request)
    }

    fn source_request(
        &self,
        option: libc::c_int,
        group: Group,
        interface: InterfaceIndex,
        source: IpAddr,
    ) -> io::Result<()> {
        // SAFETY: `group_source_req` is plain data, for which zeroes are a value.
        let mut request: libc::group_source_req = unsafe { zeroed() };
        request.gsr_interface = interface.number();
        request.gsr_group = storage(SocketAddr::new(group.addr(), 0)).0;
        request.gsr_source = storage(SocketAddr::new(source, 0)).0;
        self.set(level(group.family()), option, request)
    }
}

/// The fixed part of `struct group_filter`.
#[repr(C)]
#[derive(Clone, Copy)]
struct GroupFilterHead {
    interface: u32,
    group: libc::sockaddr_storage,
    mode: u32,
    count: u32,
}

fn level(family: Family) -> libc::c_int {
    match family {
        Family::V4 => libc::IPPROTO_IP,
        Family::V6 => libc::IPPROTO_IPV6,
    }
}
