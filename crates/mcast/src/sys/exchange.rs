//! What goes into and comes out of a socket, the same on every platform.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

/// One receive: a datagram, or several of equal size that the kernel merged (UDP GRO).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// The bytes that are in the buffer.
    pub(crate) length: usize,
    /// The bytes that there were; more than `length` if the buffer was too small.
    pub(crate) full_length: usize,
    /// More came than fit the buffer.
    pub(crate) truncated: bool,
    /// The size of each merged datagram (the last may be shorter); `None` for a single one.
    pub(crate) segment: Option<usize>,
    pub(crate) source: SocketAddr,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) interface: Option<InterfaceIndex>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    pub(crate) time: Option<SystemTime>,
    /// The time of the device's own clock, if it keeps one and was asked.
    pub(crate) hardware_time: Option<SystemTime>,
    /// The socket's running total of drops when this was queued (wraps), where there is one.
    pub(crate) overflow: Option<u32>,
}

impl Received {
    /// A datagram of so many bytes in a buffer of so many, of which nothing is known but its source.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "each is told of in full there")
    )]
    #[inline]
    pub(crate) fn bare(full_length: usize, capacity: usize, source: SocketAddr) -> Self {
        Self {
            length: full_length.min(capacity),
            full_length,
            truncated: full_length > capacity,
            segment: None,
            source,
            destination: None,
            interface: None,
            hop_limit: None,
            traffic_class: None,
            time: None,
            hardware_time: None,
            overflow: None,
        }
    }
}

/// One datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transmit<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) to: SocketAddr,
    /// The interface to leave by; `None`: by the socket's default or the route.
    pub(crate) interface: Option<InterfaceIndex>,
    /// The address to send from; `None`: the socket's own, or one of the interface's.
    pub(crate) source: Option<IpAddr>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    /// When it shall leave, on the socket's launch clock.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "no socket has a launch clock there")
    )]
    pub(crate) launch: Option<Duration>,
}

/// What one call has sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) datagrams: usize,
    /// Runs of more than one that left as one.
    pub(crate) trains: usize,
}
