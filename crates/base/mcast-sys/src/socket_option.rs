//! Opening Linux sockets of any kind, and their options.

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// A type that the kernel may read as bytes and write any bytes into.
///
/// # Safety
///
/// The type must be plain old data: no pointers, and every bit pattern is a valid value.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: an integer.
unsafe impl Plain for libc::c_int {}
// SAFETY: integers only.
unsafe impl Plain for libc::tpacket_req {}
// SAFETY: integers only.
unsafe impl Plain for libc::tpacket_stats {}
// SAFETY: integers only.
unsafe impl Plain for libc::tpacket_req3 {}
// SAFETY: integers only.
unsafe impl Plain for libc::ip_mreqn {}
// SAFETY: integers and an array of bytes.
unsafe impl Plain for libc::packet_mreq {}
// SAFETY: bytes.
unsafe impl<const LENGTH: usize> Plain for [u8; LENGTH] {}

// SAFETY: integers and arrays of bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe impl Plain for crate::joined::GroupRequest {}
// SAFETY: integers and arrays of bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe impl Plain for crate::joined::GroupSourceRequest {}

/// Sets an option.
pub(crate) fn set<T: Plain>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a value that outlives the call.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    })
    .map(drop)
}

/// Reads an option.
pub(crate) fn read<T: Plain>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    // SAFETY: all zeroes is a valid value of a `Plain` type.
    let mut value: T = unsafe { mem::zeroed() };
    let mut length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the value.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, std::ptr::from_mut(&mut value).cast(), &mut length)
    })?;
    Ok(value)
}

/// Opens a socket that started programs do not inherit.
pub(crate) fn open(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let socket = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Converts the result of a system call: a negative number becomes the last OS error.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Returns a request about an interface that has only its name.
#[cfg(target_os = "linux")]
pub(crate) fn ifreq(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte stays zero.
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

#[cfg(target_os = "linux")]
pub(crate) mod packet_socket {
    //! What all packet sockets share (`packet(7)`).

    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use libc::c_int;
    use mcast_group::InterfaceIndex;

    use crate::socket_option::{self, check};

    /// Returns the index as the kernel's structures have it.
    pub(crate) fn index_number(interface: InterfaceIndex) -> io::Result<c_int> {
        c_int::try_from(interface.number()).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Makes the socket receive the packets of all protocols on an interface, as far as the interface
    /// accepts them.
    pub(crate) fn bind(socket: BorrowedFd<'_>, interface: InterfaceIndex) -> io::Result<()> {
        // SAFETY: zeros are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index_number(interface)?;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is `length` bytes of initialized memory.
        check(unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) })
            .map(drop)
    }

    /// Makes an interface accept more frames until the socket is closed: those to a group, or those of
    /// a kind (`PACKET_MR_…`) for which no address is needed.
    pub(crate) fn add_membership(
        socket: BorrowedFd<'_>,
        interface: InterfaceIndex,
        kind: c_int,
        address: &[u8],
    ) -> io::Result<()> {
        let mut mr_address = [0; 8];
        mr_address.iter_mut().zip(address).for_each(|(to, from)| *to = *from);
        let request = libc::packet_mreq {
            mr_ifindex: index_number(interface)?,
            mr_type: kind as u16,
            mr_alen: address.len() as u16,
            mr_address,
        };
        socket_option::set(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }
}

#[cfg(target_os = "linux")]
pub(crate) mod ethtool {
    //! Requests about the driver of an interface (`SIOCETHTOOL`), in the calling thread's network namespace.

    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::ptr;

    use crate::socket_option::{self, check, ifreq};

    /// Opens a socket that requests can be made with.
    pub(crate) fn open() -> io::Result<OwnedFd> {
        socket_option::open(libc::AF_INET, libc::SOCK_DGRAM, 0)
    }

    /// Makes a request. `words` must be as long as its command, the first word, requires.
    pub(crate) fn request(socket: &OwnedFd, interface: &str, words: &mut [u32]) -> io::Result<()> {
        let mut ioctl = ifreq(interface)?;
        ioctl.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the words are as many as their command requires, and outlive the call.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, ptr::from_mut(&mut ioctl)) })
            .map(drop)
    }

    /// Returns a name that ends with a zero, or with the bytes.
    pub(crate) fn name(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    }
}
