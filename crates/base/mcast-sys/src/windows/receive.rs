//! Receiving.

use std::io;
use std::ptr;

use socket2::SockAddr;
use windows_sys::Win32::Networking::WinSock::{
    MSG_TRUNC, WSABUF, WSAECONNRESET, WSAEMSGSIZE, WSAENETRESET, WSAMSG,
};

use super::control::Space;
use super::extension::receive_message;
use super::socket::Socket;
use crate::Received;

impl Socket {
    /// Receives one datagram. On Windows the metadata costs nothing extra, so it is included.
    pub fn receive_bare(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer)
    }

    /// Receives one datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            match self.try_receive(buffer) {
                Err(error) if is_icmp_error(&error) => {}
                result => return result,
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = Space::new();
        let mut data =
            WSABUF { len: u32::try_from(buffer.len()).unwrap_or(u32::MAX), buf: buffer.as_mut_ptr() };
        let mut message = WSAMSG {
            name: ptr::null_mut(),
            namelen: 0,
            lpBuffers: &raw mut data,
            dwBufferCount: 1,
            Control: WSABUF { len: Space::len(), buf: space.as_mut_ptr() },
            dwFlags: 0,
        };
        // SAFETY: the closure makes Windows write an address and its length; every pointer in the
        // message points to memory that outlives the call.
        let ((length, truncated), source) = unsafe {
            SockAddr::try_init(|name, name_length| {
                message.name = name.cast();
                message.namelen = *name_length;
                let result = receive_message(self.raw(), &mut message);
                *name_length = message.namelen;
                match result {
                    Ok(length) => Ok((length, message.dwFlags & MSG_TRUNC != 0)),
                    // The part that fits has been received.
                    Err(error) if error.raw_os_error() == Some(WSAEMSGSIZE) => Ok((buffer.len(), true)),
                    Err(error) => Err(error),
                }
            })
        }?;
        let source = source.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let length = length.min(buffer.len());
        // The system does not report the full length of a truncated datagram.
        let mut received = Received { truncated, ..Received::bare(length, length, source) };
        space.read(message.Control.len as usize, &mut received);
        Ok(received)
    }
}

/// Returns whether the error is an ICMP error about a sent datagram, reported to a receive call.
fn is_icmp_error(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAECONNRESET | WSAENETRESET))
}
