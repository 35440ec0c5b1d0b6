//! Platform-specific capture, one module per platform family, each with the same items:
//!
//! - `Socket::open(InterfaceIndex, &CaptureOptions) -> io::Result<Socket>`: when it returns, the system
//!   buffers at least the frames that the options accept;
//! - `Socket::link_type() -> io::Result<Result<LinkType, u16>>`: the inner error is a type that cannot be
//!   decoded;
//! - `Socket::enable_blocks(bytes) -> io::Result<()>`: delivers frames in blocks from now on, through a
//!   buffer of about this size that is shared with the system; after an error, frames are delivered as
//!   before;
//! - `Socket::receive(&mut Batch) -> io::Result<()>`: fills the batch without waiting; `WouldBlock` when
//!   there is nothing;
//! - `Socket::take_dropped() -> io::Result<u32>`: returns the packets dropped since the last call;
//! - `Socket::buffer_size() -> io::Result<usize>`;
//! - `Poller::new(sockets) -> io::Result<Poller>`, and `wait(Option<Duration>) -> io::Result<bool>`: waits
//!   until `receive` of one of them has something; on Unix, `Poller: AsFd`;
//! - `ControlHandle::open(InterfaceIndex, IpAddr) -> io::Result<ControlHandle>` and `send(&[u8], IpAddr,
//!   InterfaceIndex) -> io::Result<()>`: sends IGMP or MLD from that address, with hop limit 1 and router
//!   alert;
//! - `interface_index(&str) -> io::Result<InterfaceIndex>`;
//! - `interface_name(InterfaceIndex) -> io::Result<String>`;
//! - `error_kind(&io::Error) -> ErrorKind`, for errors that `io::ErrorKind` does not distinguish;
//! - `is_unreadable(&io::Error) -> bool`: one packet is lost, the capture continues;
//! - `BATCH_BYTES`, the memory that a batch needs, `BATCH_PACKETS`, its maximum number of packets, and
//!   `MAX_FRAME_BYTES`, the memory for one frame.

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod platform;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
#[path = "bpf/mod.rs"]
mod platform;

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
#[path = "unsupported.rs"]
mod platform;

#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
mod names;

#[cfg(target_os = "linux")]
#[path = "linux/control.rs"]
mod control;

#[cfg(not(target_os = "linux"))]
#[path = "without_control.rs"]
mod control;

pub(crate) use control::ControlHandle;
pub(crate) use platform::{
    BATCH_BYTES, BATCH_PACKETS, MAX_FRAME_BYTES, Poller, Socket, error_kind, interface_index, interface_name,
    is_unreadable,
};
