//! Sockets of the standard library: their receive buffer, and segmented sending to one unicast address (`UDP_SEGMENT`,
//! Linux 4.18).

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use socket2::{MsgHdr, SockAddr, SockRef};

/// The maximum number of segments: what every kernel with segmentation accepts (`UDP_MAX_SEGMENTS` before 6.9).
pub const MAX_SEGMENTS: usize = 64;

/// The size of a control message of two bytes: its length, its level, its type, and these, without padding.
const LENGTH: usize = HEADER + size_of::<u16>();
/// `struct cmsghdr`.
const HEADER: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();

const _: () =
    assert!(size_of::<libc::cmsghdr>() == HEADER && libc::SOL_UDP == 17 && libc::UDP_SEGMENT == 103);

/// Requests a receive buffer of this size and returns the size granted.
///
/// `SO_RCVBUFFORCE`, which exceeds the limit of `net.core.rmem_max`, needs `CAP_NET_ADMIN`.
pub fn set_receive_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<usize> {
    crate::platform::socket::set_receive_buffer(&SockRef::from(socket), bytes)
}

/// Sends datagrams as one buffer, which the kernel or the device segments. All but the last must be
/// as long as the first; the last may be shorter.
pub fn send_segments(socket: &UdpSocket, to: SocketAddr, segments: &[IoSlice<'_>]) -> io::Result<()> {
    let to = SockAddr::from(to);
    let size = u16::try_from(segments.first().map_or(0, |first| first.len())).unwrap_or(u16::MAX);
    let control = segment_size(size);
    let message = MsgHdr::new().with_addr(&to).with_buffers(segments);
    let message = if segments.len() > 1 { message.with_control(&control) } else { message };
    SockRef::from(socket).sendmsg(&message, 0).map(drop)
}

/// Returns the control message with the size of each segment.
fn segment_size(size: u16) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (length, rest) = bytes.split_at_mut(size_of::<usize>());
    let (level, rest) = rest.split_at_mut(size_of::<libc::c_int>());
    let (kind, value) = rest.split_at_mut(size_of::<libc::c_int>());
    length.copy_from_slice(&LENGTH.to_ne_bytes());
    level.copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    kind.copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    value.copy_from_slice(&size.to_ne_bytes());
    bytes
}

/// Returns whether the same datagrams may be sent one by one: the kernel has no segmentation, the
/// device does not support it, or the segments exceed the MTU of the path.
pub fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EMSGSIZE | libc::ENOPROTOOPT))
        || matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}
