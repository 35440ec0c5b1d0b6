//! Socket addresses in the layout of these kernels.

use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};

use socket2::SockAddr;

/// Converts an address for join requests, including its length, which these kernels check.
pub(crate) fn request_address(address: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(address, 0));
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
    storage.ss_len = address.len() as u8;
    storage
}
