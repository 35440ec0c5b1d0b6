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
    check(unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) }).map(drop)
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
