//! Receiving.

use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;

use socket2::SockAddr;

use super::control::{self, RECEIVE_SPACE};
use super::socket::Socket;
use crate::Received;
use crate::cmsg::Space;

impl Socket {
    /// Receives one datagram. On these systems the metadata costs nothing extra, so it is included.
    pub fn receive_bare(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer)
    }

    /// Receives one datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = Space::<RECEIVE_SPACE>::new();
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: `msghdr` is plain data, for which zeroes are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = space.as_mut_ptr();
        header.msg_controllen = RECEIVE_SPACE as _;
        // SAFETY: the closure makes the kernel write an address and its length.
        let (length, source) = unsafe {
            SockAddr::try_init(|name, name_length| {
                header.msg_name = name.cast();
                header.msg_namelen = *name_length;
                // SAFETY: every pointer in the header points to memory that outlives the call.
                let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, 0);
                *name_length = header.msg_namelen;
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            })
        }?;
        let source = source.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        // The system does not report the full length of a truncated datagram.
        let mut received = Received {
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            ..Received::bare(length, length, source)
        };
        // SAFETY: `recvmsg` succeeded on this header, and its control buffer is alive.
        unsafe { control::read(&header, &mut received) };
        Ok(received)
    }
}
