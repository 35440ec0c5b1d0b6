//! Querying whether a socket has joined a group on an interface: `getsockopt(MCAST_MSFILTER)`.

use std::io;
use std::mem::{offset_of, size_of};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

/// Enough room for most memberships, and for all under the kernel's default limits.
const USUAL_SOURCES: usize = 64;

/// `struct group_filter` of RFC 3678 section 5.1.2, without its list.
#[repr(C)]
struct Head {
    interface: u32,
    group: libc::sockaddr_storage,
    mode: u32,
    count: u32,
}

/// Returns the source filter of a socket if it has joined the group on that interface.
pub(super) fn of(socket: &OwnedFd, group: Group, interface: InterfaceIndex) -> Option<SourceFilter> {
    let mut request = FilterRequest::new(group, interface, USUAL_SOURCES);
    loop {
        // A socket that has not joined returns EADDRNOTAVAIL; one that does not support the query
        // cannot have joined.
        request.query(socket).ok()?;
        match request.filter() {
            Ok(filter) => return filter,
            Err(sources) => request = FilterRequest::new(group, interface, sources),
        }
    }
}

/// The request for a membership, which is also the buffer of the reply: a head, and room for
/// addresses.
struct FilterRequest {
    level: libc::c_int,
    family: Family,
    capacity: usize,
    bytes: Vec<u8>,
}

impl FilterRequest {
    fn new(group: Group, interface: InterfaceIndex, capacity: usize) -> Self {
        let mut bytes = vec![0; size_of::<Head>() + capacity * size_of::<libc::sockaddr_storage>()];
        let mut put = |position: usize, value: &[u8]| {
            bytes[position..position + value.len()].copy_from_slice(value);
        };
        put(offset_of!(Head, interface), &interface.number().to_ne_bytes());
        put(offset_of!(Head, count), &(capacity as u32).to_ne_bytes());
        let address = offset_of!(Head, group);
        let (level, offset) = layout(group.family());
        put(address, &family_number(group.family()).to_ne_bytes());
        match group.addr() {
            IpAddr::V4(group) => put(address + offset, &group.octets()),
            IpAddr::V6(group) => put(address + offset, &group.octets()),
        }
        Self { level, family: group.family(), capacity, bytes }
    }

    fn query(&mut self, socket: &OwnedFd) -> io::Result<()> {
        let mut length = self.bytes.len() as libc::socklen_t;
        // SAFETY: the pointer and length are those of `bytes`, which the kernel reads and writes.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                self.level,
                libc::MCAST_MSFILTER,
                self.bytes.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Returns the filter; an error holds the number of sources if it exceeds the capacity.
    fn filter(&self) -> Result<Option<SourceFilter>, usize> {
        let number = |position: usize| {
            self.bytes.get(position..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
        };
        let (Some(mode), Some(count)) = (number(offset_of!(Head, mode)), number(offset_of!(Head, count)))
        else {
            return Ok(None);
        };
        if count as usize > self.capacity {
            return Err(count as usize);
        }
        let list = self.bytes[size_of::<Head>()..].chunks(size_of::<libc::sockaddr_storage>());
        let sources = list.take(count as usize).filter_map(|address| self.source(address)).collect();
        Ok(Some(match mode.cast_signed() {
            libc::MCAST_INCLUDE => SourceFilter::Include(sources),
            _ => SourceFilter::Exclude(sources),
        }))
    }

    fn source(&self, address: &[u8]) -> Option<IpAddr> {
        let (_, offset) = layout(self.family);
        let address = address.get(offset..)?;
        Some(match self.family {
            Family::V4 => IpAddr::from(*address.first_chunk::<4>()?),
            Family::V6 => IpAddr::from(*address.first_chunk::<16>()?),
        })
    }
}

/// Returns the level of a family's options, and the offset of the IP address in its socket
/// addresses.
const fn layout(family: Family) -> (libc::c_int, usize) {
    match family {
        Family::V4 => (libc::IPPROTO_IP, offset_of!(libc::sockaddr_in, sin_addr)),
        Family::V6 => (libc::IPPROTO_IPV6, offset_of!(libc::sockaddr_in6, sin6_addr)),
    }
}

const fn family_number(family: Family) -> libc::sa_family_t {
    match family {
        Family::V4 => libc::AF_INET as libc::sa_family_t,
        Family::V6 => libc::AF_INET6 as libc::sa_family_t,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_reply_of_any_bytes_is_read_without_panic(
            v6: bool,
            capacity in 0_usize..4,
            bytes in proptest::collection::vec(any::<u8>(), 0..700),
        ) {
            let group: Group = if v6 { "ff15::1" } else { "239.1.2.3" }.parse().unwrap();
            let mut request = FilterRequest::new(group, InterfaceIndex::new(1).unwrap(), capacity);
            request.bytes.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
            if let Ok(Some(filter)) = request.filter() {
                prop_assert!(filter.sources().len() <= capacity);
            }
        }
    }
}
