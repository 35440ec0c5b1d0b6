//! Trains by `UDP_SEGMENT` (Linux 4.18).

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use socket2::{MsgHdr, SockAddr, SockRef};

/// Datagrams of a train: what every kernel that knows trains takes (`UDP_MAX_SEGMENTS` before 6.9).
pub(crate) const MOST: usize = 64;

/// A control message of two bytes: its length, its level, its type, and these. No more of it is looked at.
const LENGTH: usize = HEADER + size_of::<u16>();
/// `struct cmsghdr`.
const HEADER: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();

const _: () =
    assert!(size_of::<libc::cmsghdr>() == HEADER && libc::SOL_UDP == 17 && libc::UDP_SEGMENT == 103);

/// Sends these, which the kernel or the device cuts apart. All but the last are as long as the first.
pub(crate) fn send_train(socket: &UdpSocket, to: SocketAddr, train: &[IoSlice<'_>]) -> io::Result<()> {
    let to = SockAddr::from(to);
    let size = u16::try_from(train.first().map_or(0, |first| first.len())).unwrap_or(u16::MAX);
    let control = segment(size);
    let message = MsgHdr::new().with_addr(&to).with_buffers(train);
    let message = if train.len() > 1 { message.with_control(&control) } else { message };
    SockRef::from(socket).sendmsg(&message, 0).map(drop)
}

/// Says how long each is.
fn segment(size: u16) -> [u8; LENGTH] {
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
