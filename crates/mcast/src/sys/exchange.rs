//! Inputs and outputs of a socket, common to all platforms.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

/// The result of one receive: a datagram, or several of equal length that the kernel coalesced (UDP
/// GRO).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// The number of bytes in the buffer.
    pub(crate) length: usize,
    /// The number of bytes received; more than `length` if the buffer was too small.
    pub(crate) full_length: usize,
    /// Whether the datagram was larger than the buffer.
    pub(crate) truncated: bool,
    /// The size of each coalesced datagram (the last may be shorter); `None` for a single one.
    pub(crate) segment: Option<usize>,
    pub(crate) source: SocketAddr,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) interface: Option<InterfaceIndex>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    pub(crate) time: Option<SystemTime>,
    /// The time of the device's clock, if it was requested and the device reports it.
    pub(crate) hardware_time: Option<SystemTime>,
    /// The socket's running total of drops when this was queued, if reported. It may wrap.
    pub(crate) overflow: Option<u32>,
}

impl Received {
    /// Creates the result for a datagram of which only length and source are known.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "the details are always reported there")
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

/// One datagram to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transmit<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) to: SocketAddr,
    /// The outgoing interface; `None` for the socket's default or the routing table's choice.
    pub(crate) interface: Option<InterfaceIndex>,
    /// The source address; `None` for the socket's own, or one of the interface.
    pub(crate) source: Option<IpAddr>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    /// The launch time on the socket's launch clock.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "no socket has a launch clock there")
    )]
    pub(crate) launch: Option<Duration>,
}

/// The datagrams sent by one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) datagrams: usize,
    /// The number of segmented buffers: those with more than one datagram.
    pub(crate) trains: usize,
}
