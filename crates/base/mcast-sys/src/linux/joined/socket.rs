//! A borrowed socket and its memberships. It belongs to another process, and only `change` sets options on it.

use std::io;
use std::mem::{offset_of, size_of, size_of_val};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockRef, Type};

use super::processes::{Lender, Loan};
use crate::{JoinedSocket, Process, SocketHolder, SocketKind};

/// `asm-generic/socket.h`, since Linux 5.0.
pub(super) const SO_BINDTOIFINDEX: libc::c_int = 62;

/// `asm-generic/socket.h`, since Linux 4.12; `libc` lacks it for Android.
const SO_MEMINFO: libc::c_int = 55;

/// A socket of another process, borrowed until this is dropped.
pub(super) struct BorrowedSocket {
    pub(super) descriptor: Loan,
    pub(super) domain: Domain,
    pub(super) kind: Type,
}

/// A membership that a socket holds.
pub(super) struct Answer {
    /// Its index in the table.
    pub(super) entry: usize,
    filter: SourceFilter,
    multicast_all: Option<bool>,
    loopback: Option<bool>,
}

impl Answer {
    pub(super) fn holder(self, socket: Arc<JoinedSocket>) -> SocketHolder {
        let Self { filter, multicast_all, loopback, .. } = self;
        SocketHolder { filter, multicast_all, loopback, socket }
    }
}

impl BorrowedSocket {
    /// Borrows the socket behind a process's descriptor; `None` if it is no longer the socket
    /// `inode`.
    pub(super) fn of(lender: &Lender, descriptor: RawFd, inode: u64) -> io::Result<Option<Self>> {
        let descriptor = match lender.lend(descriptor) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(None),
            lent => lent?,
        };
        if descriptor.inode != inode {
            return Ok(None);
        }
        let socket = SockRef::from(&*descriptor);
        let (domain, kind) = (socket.domain()?, socket.r#type()?);
        Ok(Some(Self { descriptor, domain, kind }))
    }

    /// Returns whether the socket can join groups at all.
    pub(super) fn can_join_any(&self) -> bool {
        self.can_join(Family::V4) || self.can_join(Family::V6)
    }

    /// Returns whether the socket can join groups of this family. TCP sockets cannot; IPv6 sockets
    /// can also join IPv4 groups unless they are raw.
    pub(super) fn can_join(&self, family: Family) -> bool {
        match family {
            _ if self.kind == Type::STREAM => false,
            Family::V4 => {
                self.domain == Domain::IPV4 || self.domain == Domain::IPV6 && self.kind != Type::RAW
            }
            Family::V6 => self.domain == Domain::IPV6,
        }
    }

    /// Returns its source filter if it has joined the group on that interface.
    pub(super) fn filter(&self, group: Group, interface: InterfaceIndex) -> Option<SourceFilter> {
        of(&self.descriptor, group, interface)
    }

    /// Combines a membership with the relevant socket options for this family.
    pub(super) fn answer(&self, entry: usize, family: Family, filter: SourceFilter) -> Answer {
        let (level, all, loopback) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, libc::IP_MULTICAST_LOOP),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, libc::IPV6_MULTICAST_LOOP),
        };
        let flag = |option| self.option::<libc::c_int>(level, option).ok().map(|value| value != 0);
        Answer { entry, filter, multicast_all: flag(all), loopback: flag(loopback) }
    }

    pub(super) fn describe(&self, holder: Process) -> JoinedSocket {
        let socket = SockRef::from(&*self.descriptor);
        let protocol = socket.protocol().ok().flatten();
        let kind = kind(self.kind, protocol);
        JoinedSocket {
            inode: self.descriptor.inode,
            family: if self.domain == Domain::IPV6 { Family::V6 } else { Family::V4 },
            kind,
            local: socket.local_addr().ok().and_then(|address| local(address.as_socket()?, kind)),
            peer: socket.peer_addr().ok().and_then(|address| address.as_socket()).map(canonical),
            bound_interface: self
                .option::<u32>(libc::SOL_SOCKET, SO_BINDTOIFINDEX)
                .ok()
                .and_then(InterfaceIndex::new),
            receive_buffer: socket.recv_buffer_size().unwrap_or(0) / 2,
            drops: self.drops(),
            processes: vec![holder],
        }
    }

    fn drops(&self) -> Option<u32> {
        const DROPS: usize = 8;
        let info: [u32; 9] = self.option(libc::SOL_SOCKET, SO_MEMINFO).ok()?;
        Some(info[DROPS])
    }

    fn option<T: Copy + Default>(&self, level: libc::c_int, option: libc::c_int) -> io::Result<T> {
        option_of(&self.descriptor, level, option)
    }
}

fn kind(kind: Type, protocol: Option<Protocol>) -> SocketKind {
    match (kind, protocol) {
        (Type::DGRAM, Some(Protocol::UDP)) => SocketKind::Udp,
        (Type::RAW, protocol) => {
            let number = protocol.map_or(0, libc::c_int::from);
            u8::try_from(number).map_or(SocketKind::Other, |protocol| SocketKind::Raw { protocol })
        }
        _ => SocketKind::Other,
    }
}

/// Returns the bound address. For a raw socket, the kernel reports the protocol in place of a port.
fn local(address: SocketAddr, kind: SocketKind) -> Option<SocketAddr> {
    let mut address = canonical(address);
    if kind != SocketKind::Udp {
        address.set_port(0);
    }
    (address.port() != 0 || !address.ip().is_unspecified()).then_some(address)
}

/// Converts an IPv4-mapped address to IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

pub(super) fn option_of<T: Copy + Default>(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`, which is plain data in every use here.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

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
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn borrowed() -> (std::net::UdpSocket, BorrowedSocket) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::from(OwnedFd::from(socket.try_clone().unwrap()));
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let lender = Lender::open(std::process::id()).unwrap();
        let borrowed = BorrowedSocket::of(&lender, socket.as_raw_fd(), inode).unwrap().unwrap();
        (socket, borrowed)
    }

    #[test]
    fn a_reused_descriptor_is_not_mistaken_for_the_old_socket() {
        let (socket, borrowed) = borrowed();
        let lender = Lender::open(std::process::id()).unwrap();
        let other = BorrowedSocket::of(&lender, socket.as_raw_fd(), borrowed.descriptor.inode + 1).unwrap();
        assert!(other.is_none());
    }

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
