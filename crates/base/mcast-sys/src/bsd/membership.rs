//! Changing the source filter of a joined group (RFC 3678 section 5.2.1).

use std::io;
use std::os::fd::AsRawFd;

use mcast_group::{Group, InterfaceIndex, SourceFilter};

use super::address::request_address;
use super::socket::Socket;

/// Source filter modes (`netinet/in.h`).
const MCAST_INCLUDE: u32 = 1;
const MCAST_EXCLUDE: u32 = 2;

unsafe extern "C" {
    /// RFC 3678 section 5.2.1; part of the C library of both systems.
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
    /// Replaces the source filter of a joined group atomically.
    pub fn change_filter(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let (mode, sources) = match filter {
            SourceFilter::Include(sources) => (MCAST_INCLUDE, sources),
            SourceFilter::Exclude(sources) => (MCAST_EXCLUDE, sources),
        };
        let mut group = request_address(group.addr());
        let mut sources: Vec<_> = sources.iter().copied().map(request_address).collect();
        // SAFETY: the group is a complete address of the given length, and `sources` is a live list
        // of the given number of addresses; neither is modified.
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
}
