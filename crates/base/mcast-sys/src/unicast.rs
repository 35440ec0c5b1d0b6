//! Sockets of the standard library: their buffers, and segmented sending to one unicast address (`UDP_SEGMENT`,
//! Linux 4.18).

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

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

/// Requests a send buffer of this size (`SO_SNDBUFFORCE`, `net.core.wmem_max`).
pub fn set_send_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<()> {
    crate::platform::socket::set_send_buffer(&SockRef::from(socket), bytes)
}

/// Returns whether datagrams that were not sent yet take half of the send buffer or more (`SIOCOUTQ`). They wait for the
/// interface, or for up to 3 s for an answer to ARP or a neighbour solicitation.
pub fn is_send_buffer_half_full(socket: &UdpSocket) -> io::Result<bool> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the kernel writes one `int`, which outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ as _, &raw mut waiting) } {
        -1 => Err(io::Error::last_os_error()),
        // Both sizes include the kernel's overhead.
        _ => Ok(usize::try_from(waiting).unwrap_or(0) >= SockRef::from(socket).send_buffer_size()? / 2),
    }
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
