//! Joining and leaving, by the protocol-independent options of RFC 3678 section 5.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::SockAddr;

use super::socket::Socket;

/// Modes of a source filter (`netinet/in.h`).
const MCAST_INCLUDE: u32 = 1;
const MCAST_EXCLUDE: u32 = 2;

unsafe extern "C" {
    /// RFC 3678 section 5.2.1; in the C library of both systems.
    fn setsourcefilter(
        socket: libc::c_int,
        interface: u32,
        group: *mut libc::sockaddr,
        group_length: libc::socklen_t,
        mode: u32,
        count: u32,
        sources: *mut libc::sockaddr_storage,
    ) -> libc::c_int;
}

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
            SourceFilter::Include(sources) => (MCAST_INCLUDE, sources),
            SourceFilter::Exclude(sources) => (MCAST_EXCLUDE, sources),
        };
        let mut group = storage(group.addr());
        let mut sources: Vec<_> = sources.iter().copied().map(storage).collect();
        // SAFETY: the group is a whole address of the length it says, and `sources` is a live
        // list of as many addresses as is said; neither is changed.
        let result = unsafe {
            setsourcefilter(
                self.socket.as_raw_fd(),
                interface.number(),
                (&raw mut group).cast(),
                group.ss_len.into(),
                mode,
                sources.len() as u32,
                sources.as_mut_ptr(),
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Leaves a group on an interface, for all sources.
    pub(crate) fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.group_request(libc::MCAST_LEAVE_GROUP, group, interface)
    }

    fn group_request(&self, option: libc::c_int, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        // SAFETY: `group_req` is plain data, for which zeroes are a value.
        let mut request: libc::group_req = unsafe { zeroed() };
        request.gr_interface = interface.number();
        request.gr_group = storage(group.addr());
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
        request.gsr_group = storage(group.addr());
        request.gsr_source = storage(source);
        self.set(level(group.family()), option, request)
    }
}

fn level(family: Family) -> libc::c_int {
    match family {
        Family::V4 => libc::IPPROTO_IP,
        Family::V6 => libc::IPPROTO_IPV6,
    }
}

/// The address as requests carry it, with its length, which these kernels check.
fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    // SAFETY: an all-zero `sockaddr_storage` is a value.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    // SAFETY: `SockAddr` holds `len` bytes, never more than a `sockaddr_storage`.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            address.len() as usize,
        );
    }
    storage.ss_len = address.len() as u8;
    storage
}
