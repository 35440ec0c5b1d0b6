//! Changing the source filter of a joined group (RFC 3678 section 5.1.2).

use std::io;
use std::mem::size_of;

use mcast_group::{Group, InterfaceIndex, SourceFilter};

use super::address::request_address;
use super::socket::{Socket, as_bytes};
use crate::requests::option_level;

impl Socket {
    /// Replaces the source filter of a joined group atomically.
    pub fn change_filter(
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
            group: request_address(group.addr()),
            mode,
            count: sources.len() as u32,
        };
        let list: Vec<libc::sockaddr_storage> =
            sources.iter().map(|source| request_address(*source)).collect();
        let mut bytes = Vec::with_capacity(size_of::<GroupFilterHead>() + size_of_val(&list[..]));
        bytes.extend_from_slice(as_bytes(std::slice::from_ref(&head)));
        bytes.extend_from_slice(as_bytes(&list));
        self.set_bytes(option_level(group.family()), libc::MCAST_MSFILTER, &bytes)
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
