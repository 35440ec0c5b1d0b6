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
