//! The interface that the routing table selects, from `GetBestInterfaceEx`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mcast_group::InterfaceIndex;
use socket2::SockAddr;
use windows_sys::Win32::Foundation::{
    ERROR_HOST_UNREACHABLE, ERROR_NETWORK_UNREACHABLE, ERROR_NOT_FOUND, ERROR_SUCCESS,
};
use windows_sys::Win32::NetworkManagement::IpHelper::GetBestInterfaceEx;

/// Returns the interface by which datagrams to the address leave unless a socket option names
/// another; `None` if there is no route. For multicast it is the interface with the lowest metric,
/// even if that is down.
pub fn interface_towards(address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    let mut index = 0;
    // SAFETY: the address is complete and matches its family, and `index` is writable.
    match unsafe { GetBestInterfaceEx(address.as_ptr().cast(), &raw mut index) } {
        ERROR_SUCCESS => Ok(InterfaceIndex::new(index)),
        ERROR_HOST_UNREACHABLE | ERROR_NETWORK_UNREACHABLE | ERROR_NOT_FOUND => Ok(None),
        error => Err(io::Error::from_raw_os_error(error.cast_signed())),
    }
}
