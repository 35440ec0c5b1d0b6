//! Systems without segmentation offload for unicast: one call per datagram.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

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
