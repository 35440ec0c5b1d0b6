//! A borrowed socket, asked what it has joined. Nothing is set on it: it is another's.

use std::fs::File;
use std::io;
use std::mem::{offset_of, size_of, size_of_val};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockRef, Type};

use super::borrow::Lender;
use crate::joined::{JoinedSocket, Process, SocketHolder, SocketKind};

/// `asm-generic/socket.h`, since Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;
/// `asm-generic/socket.h`, since Linux 5.0.
const SO_BINDTOIFINDEX: libc::c_int = 62;

/// `asm-generic/socket.h`, since Linux 4.12; `libc` lacks it for Android.
const SO_MEMINFO: libc::c_int = 55;

/// What most memberships have room for, and all with the kernel's default limits.
const USUAL_SOURCES: usize = 64;

/// Another's socket, ours as long as this lives.
pub(super) struct BorrowedSocket {
    descriptor: OwnedFd,
    inode: u64,
    domain: Domain,
    kind: Type,
}

/// A membership that a socket holds.
pub(super) struct Answer {
    /// Its number in the table.
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
    /// The socket behind a process's descriptor; `None` if that is no longer the socket `inode`.
    pub(super) fn of(lender: &Lender, descriptor: RawFd, inode: u64) -> io::Result<Option<Self>> {
        let file = match lender.lend(descriptor) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(None),
            lent => File::from(lent?),
        };
        if file.metadata()?.ino() != inode {
            return Ok(None);
        }
        let descriptor = OwnedFd::from(file);
        let socket = SockRef::from(&descriptor);
        let (domain, kind) = (socket.domain()?, socket.r#type()?);
        Ok(Some(Self { descriptor, inode, domain, kind }))
    }

    /// Whether the socket can join groups at all.
    pub(super) fn can_join_any(&self) -> bool {
        self.can_join(Family::V4) || self.can_join(Family::V6)
    }

    /// Whether the socket can join groups of this family: TCP never can, and one of IPv6 can for
    /// IPv4 unless it is raw.
    pub(super) fn can_join(&self, family: Family) -> bool {
        match family {
            _ if self.kind == Type::STREAM => false,
            Family::V4 => {
                self.domain == Domain::IPV4 || self.domain == Domain::IPV6 && self.kind != Type::RAW
            }
            Family::V6 => self.domain == Domain::IPV6,
        }
    }

    /// The sources it asked for, if it has joined the group on that interface.
    pub(super) fn filter(&self, group: Group, interface: InterfaceIndex) -> Option<SourceFilter> {
        let mut request = FilterRequest::new(group, interface, USUAL_SOURCES);
        loop {
            // Not joined is EADDRNOTAVAIL; what cannot be asked cannot have joined.
            request.ask(&self.descriptor).ok()?;
            match request.filter() {
                Ok(filter) => return filter,
                Err(sources) => request = FilterRequest::new(group, interface, sources),
            }
        }
    }

    /// With the options that matter for a membership of this family.
    pub(super) fn answer(&self, entry: usize, family: Family, filter: SourceFilter) -> Answer {
        let (level, all, loopback) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, libc::IP_MULTICAST_LOOP),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, libc::IPV6_MULTICAST_LOOP),
        };
        let flag = |option| self.option::<libc::c_int>(level, option).ok().map(|value| value != 0);
        Answer { entry, filter, multicast_all: flag(all), loopback: flag(loopback) }
    }

    pub(super) fn describe(&self, holder: Process) -> JoinedSocket {
        let socket = SockRef::from(&self.descriptor);
        let protocol = socket.protocol().ok().flatten();
        let kind = kind(self.kind, protocol);
        JoinedSocket {
            inode: self.inode,
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

/// A network namespace, by which sockets are told apart.
#[derive(Default)]
pub(super) struct Namespace {
    cookie: Option<u64>,
    inode: Option<u64>,
}

impl Namespace {
    pub(super) fn of_this_thread() -> Self {
        let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None).map(OwnedFd::from);
        let cookie = socket.and_then(|socket| cookie_of(&socket)).ok();
        let namespace = std::fs::metadata("/proc/thread-self/ns/net");
        Self { cookie, inode: namespace.ok().map(|namespace| namespace.ino()) }
    }

    /// Whether the socket lives in it, whatever its process does. By its cookie; before Linux
    /// 5.14 by its namespace, for which the kernel wants `CAP_NET_ADMIN`. A socket that cannot be
    /// told is taken to live here, as nearly all do.
    pub(super) fn has(&self, socket: &BorrowedSocket) -> bool {
        match (self.cookie, cookie_of(&socket.descriptor)) {
            (Some(own), Ok(other)) => own == other,
            _ => self.has_by_inode(&socket.descriptor).unwrap_or(true),
        }
    }

    fn has_by_inode(&self, socket: &OwnedFd) -> Option<bool> {
        let other = namespace_of(socket).and_then(|namespace| namespace.metadata()).ok()?;
        self.inode.map(|own| own == other.ino())
    }
}

fn cookie_of(socket: &OwnedFd) -> io::Result<u64> {
    option_of(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE)
}

/// The namespace that a socket lives in.
fn namespace_of(socket: &OwnedFd) -> io::Result<File> {
    // SAFETY: this request takes no argument and makes a new descriptor.
    let descriptor = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGSKNS as _) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us alone.
    Ok(unsafe { File::from_raw_fd(descriptor) })
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

/// The address it is bound to. For a raw socket the kernel tells its protocol in place of a port.
fn local(address: SocketAddr, kind: SocketKind) -> Option<SocketAddr> {
    let mut address = canonical(address);
    if kind != SocketKind::Udp {
        address.set_port(0);
    }
    (address.port() != 0 || !address.ip().is_unspecified()).then_some(address)
}

/// An IPv4 address that an IPv6 socket has in mapped form, as itself.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn option_of<T: Copy + Default>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and length are those of `value`, plain data in every use here.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// `struct group_filter` of RFC 3678 section 5.1.2, without its list.
#[repr(C)]
struct Head {
    interface: u32,
    group: libc::sockaddr_storage,
    mode: u32,
    count: u32,
}

/// The question for a membership, and its answer: a head and as many addresses as there is room for.
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
        let (level, place) = layout(group.family());
        put(address, &family_number(group.family()).to_ne_bytes());
        match group.addr() {
            IpAddr::V4(group) => put(address + place, &group.octets()),
            IpAddr::V6(group) => put(address + place, &group.octets()),
        }
        Self { level, family: group.family(), capacity, bytes }
    }

    fn ask(&mut self, socket: &OwnedFd) -> io::Result<()> {
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

    /// The answer; how many sources there are, if they are more than there was room for.
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
        let (_, place) = layout(self.family);
        let address = address.get(place..)?;
        Some(match self.family {
            Family::V4 => IpAddr::from(*address.first_chunk::<4>()?),
            Family::V6 => IpAddr::from(*address.first_chunk::<16>()?),
        })
    }
}

/// The level of a family's options, and where in its socket addresses the IP address lies.
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
