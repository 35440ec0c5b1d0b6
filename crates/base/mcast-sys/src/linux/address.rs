//! Socket addresses in the layout of the kernel.

use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::SockAddr;

/// Converts an address for the calls of a socket: IPv4-mapped if the socket is a dual-stack one.
pub(super) fn outward(address: SocketAddr, mapped: bool) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if mapped => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    }
}

/// Returns the size of an address of the families that are used here.
#[cfg(target_os = "android")]
pub fn sockaddr_length(address: &libc::sockaddr) -> usize {
    match i32::from(address.sa_family) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => size_of::<libc::sa_family_t>(),
    }
}

pub(super) fn storage(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let address = SockAddr::from(address);
    // SAFETY: an all-zero `sockaddr_storage` is valid.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    // SAFETY: `SockAddr` holds `len` bytes, never more than a `sockaddr_storage`.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            address.len() as usize,
        );
    }
    (storage, address.len())
}

/// Reads an address that the kernel wrote; an IPv4-mapped address becomes IPv4.
///
/// # Safety
/// `name` must point to a socket address that the kernel wrote.
pub(super) unsafe fn read_address(name: *const libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: every socket address starts with its family.
    match libc::c_int::from(unsafe { (*name).ss_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a `sockaddr_in`.
            let address = unsafe { &*name.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a `sockaddr_in6`.
            let address = unsafe { &*name.cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port));
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
                None => {
                    SocketAddr::V6(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id))
                }
            })
        }
        _ => None,
    }
}

/// Converts an address for join requests.
pub(crate) fn request_address(address: IpAddr) -> libc::sockaddr_storage {
    storage(SocketAddr::new(address, 0)).0
}
