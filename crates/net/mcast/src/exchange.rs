//! A datagram to send, and sources and sinks of datagrams: the interface shared by receivers, captures, files and
//! simulators.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcast_group::{GroupAddr, InterfaceIndex};
use mcast_sys::OutgoingDatagram;

use crate::batch::Batch;
use crate::error::Result;
use crate::receiver::Receiver;
use crate::sender::Sender;

/// A source of datagrams.
///
/// A [`Receiver`] is one; a capture, a file or a simulator can be one, too. Code that takes a `dyn
/// DatagramSource` works with all of them and can be tested without a network.
pub trait DatagramSource {
    /// Receives datagrams into the batch and returns their number. Waits at most `timeout` for the
    /// first one (`None`: without limit). The previous contents of the batch are removed.
    ///
    /// Returns 0 on timeout and at the end of the source ([`is_at_end`](Self::is_at_end)).
    ///
    /// # Errors
    /// Those of the source.
    fn receive_batch(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize>;

    /// Returns whether the source is exhausted, such as at the end of a file.
    fn is_at_end(&self) -> bool {
        false
    }
}

/// A destination of datagrams.
pub trait DatagramSink {
    /// Sends datagrams in order and returns the number sent.
    ///
    /// # Errors
    /// If the first datagram cannot be sent.
    fn send_batch(&mut self, outgoing: &[Outgoing<'_>]) -> Result<usize>;
}

impl DatagramSource for &Receiver {
    fn receive_batch(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize> {
        self.recv_batch_until(batch, timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }
}

impl DatagramSource for Receiver {
    fn receive_batch(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize> {
        (&*self).receive_batch(batch, timeout)
    }
}

impl DatagramSink for &Sender {
    fn send_batch(&mut self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        Sender::send_batch(self, outgoing)
    }
}

impl DatagramSink for Sender {
    fn send_batch(&mut self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        Self::send_batch(self, outgoing)
    }
}

/// A datagram to send, with its deviations from the sender's settings.
///
/// ```
/// use mcast::Outgoing;
/// let to = "239.1.2.3:7000".parse()?;
/// let outgoing = Outgoing::new(b"hello").to(to).hop_limit(4);
/// # Ok::<(), mcast::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) to: Option<SocketAddr>,
    pub(crate) interface: Option<InterfaceIndex>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    pub(crate) launch: Option<Duration>,
}

impl<'a> Outgoing<'a> {
    /// Creates a datagram with the sender's settings.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { payload, to: None, interface: None, hop_limit: None, traffic_class: None, launch: None }
    }

    /// Sends it to this group instead of the sender's destinations.
    #[must_use]
    pub const fn to(self, group: GroupAddr) -> Self {
        self.to_address(SocketAddr::new(group.group.addr(), group.port))
    }

    /// Sends it to this address of a group or host instead of the sender's destinations.
    #[must_use]
    pub const fn to_address(mut self, to: SocketAddr) -> Self {
        self.to = Some(to);
        self
    }

    /// Sends it by this interface instead of the sender's.
    #[must_use]
    pub const fn by(mut self, interface: InterfaceIndex) -> Self {
        self.interface = Some(interface);
        self
    }

    /// Sends it with this hop limit (IPv4: TTL) instead of the sender's.
    #[must_use]
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = Some(hops);
        self
    }

    /// Sends it with this traffic class (DSCP and ECN) instead of the sender's.
    #[must_use]
    pub const fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = Some(class);
        self
    }

    /// Sends it at this time of the sender's launch clock
    /// ([`SenderBuilder::launch_clock`](crate::SenderBuilder::launch_clock)). The queue discipline
    /// of the interface holds it back until then. If the time is past, the queue discipline may
    /// drop it (`etf`) or send it at once (`fq`).
    #[must_use]
    pub const fn launch_at(mut self, time: Duration) -> Self {
        self.launch = Some(time);
        self
    }

    /// Returns a datagram with this payload and the same settings.
    #[must_use]
    pub const fn with_payload(self, payload: &[u8]) -> Outgoing<'_> {
        Outgoing { payload, ..self }
    }

    /// Returns the group, if it is not the sender's.
    #[must_use]
    pub fn group(&self) -> Option<GroupAddr> {
        self.to?.try_into().ok()
    }

    /// Returns the payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

impl OutgoingDatagram for Outgoing<'_> {
    #[inline]
    fn payload(&self) -> &[u8] {
        self.payload
    }

    #[inline]
    fn shares_settings(&self, other: &Self) -> bool {
        self.to == other.to
            && self.interface == other.interface
            && self.hop_limit == other.hop_limit
            && self.traffic_class == other.traffic_class
            && self.launch == other.launch
    }
}
