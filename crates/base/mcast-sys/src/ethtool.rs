//! Requests about the driver of an interface (`SIOCETHTOOL`), in the calling thread's network namespace.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use crate::socket_option::{self, check};

/// Opens a socket that requests can be made with.
pub(crate) fn open() -> io::Result<OwnedFd> {
    socket_option::open(libc::AF_INET, libc::SOCK_DGRAM, 0)
}

/// Makes a request. `words` must be as long as its command, the first word, requires.
pub(crate) fn request(socket: &OwnedFd, interface: &str, words: &mut [u32]) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut ioctl: libc::ifreq = unsafe { mem::zeroed() };
    if interface.len() >= ioctl.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in ioctl.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    ioctl.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the words are as many as their command requires, and outlive the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, ptr::from_mut(&mut ioctl)) })
        .map(drop)
}

/// Returns a name that ends with a zero, or with the bytes.
pub(crate) fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}
