//! Sending frames on the link of an interface (`packet(7)`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::Interface;
use crate::socket_option::{self, check, ifreq, packet_socket};

/// A packet socket that sends Ethernet frames on one interface, and receives nothing.
#[derive(Debug)]
pub struct LinkSender {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl LinkSender {
    /// Opens a socket in the network namespace of the calling thread. Needs `CAP_NET_RAW`.
    pub fn open(interface: &Interface) -> io::Result<Self> {
        // SAFETY: zeros are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_ifindex = packet_socket::index_number(interface.index)?;
        // A socket that is not bound and has protocol 0 receives nothing.
        let socket = socket_option::open(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)?;
        Ok(Self { socket, address })
    }

    /// Sends a frame that starts with its Ethernet header.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let protocol = frame.get(12..14).and_then(|bytes| bytes.first_chunk());
        let protocol = protocol.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let address = libc::sockaddr_ll { sll_protocol: u16::from_ne_bytes(*protocol), ..self.address };
        // SAFETY: the frame and the address are as long as stated, and only read.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                std::ptr::from_ref(&address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Returns whether hosts find the hardware address of an interface by asking on the link (`IFF_NOARP` is not set), in the network
/// namespace of the calling thread. Needs no rights.
pub fn resolves_addresses(interface: &Interface) -> io::Result<bool> {
    let socket = socket_option::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = ifreq(&interface.name)?;
    // SAFETY: the request has a name that ends with a zero, and outlives the call.
    check(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, std::ptr::from_mut(&mut request))
    })?;
    // SAFETY: the call has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags) & libc::IFF_NOARP == 0)
}
