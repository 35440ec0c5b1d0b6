//! Systems without segmentation offload for unicast: one call per datagram.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use socket2::SockRef;

/// Requests a receive buffer of this size and returns the size granted.
pub fn set_receive_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    socket.set_recv_buffer_size(bytes.min(i32::MAX as usize))?;
    socket.recv_buffer_size()
}

/// Requests a send buffer of this size.
pub fn set_send_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<()> {
    SockRef::from(socket).set_send_buffer_size(bytes.min(i32::MAX as usize))
}

/// Returns `Ok(false)`: these systems do not count a datagram that waits for address resolution as part of the send buffer.
pub fn is_send_buffer_half_full(_socket: &UdpSocket) -> io::Result<bool> {
    Ok(false)
}

/// The maximum number of segments.
pub const MAX_SEGMENTS: usize = 1;

/// Sends datagrams, one after the other.
pub fn send_segments(socket: &UdpSocket, to: SocketAddr, segments: &[IoSlice<'_>]) -> io::Result<()> {
    segments.iter().try_for_each(|each| socket.send_to(each, to).map(drop))
}

/// Returns `false`: nothing is segmented.
pub fn is_refusal(_error: &io::Error) -> bool {
    false
}
