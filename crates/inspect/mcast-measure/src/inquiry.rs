//! The asking end of every measurement.

use std::io;
use std::net::SocketAddr;

use mcast_pace::ClockTime;

use crate::wire::UnixNanos;

/// Where a message of an [`Inquiry`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Every target, which are groups as a rule. A failure ends the measurement.
    Targets,
    /// Every target, with this hop limit. What this host drops because its queue is full counts as sent, and what is too
    /// large for it as not sent: the measurement continues.
    TargetsWithin(u8),
    /// The target of the stream with this number. Streams are distributed over the targets in turn.
    Stream(usize),
    /// A host, from the socket that sends to the targets. A failure is a lost datagram.
    Host(SocketAddr),
    /// The host with this number and address, from a socket that exchanges datagrams with it alone, so that the system
    /// reports why it does not answer.
    Peer(usize, SocketAddr),
}

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Where it goes.
    pub to: Recipient,
    /// The message.
    pub message: &'a [u8],
}

/// The asking end of a measurement: [`PingPong`](crate::PingPong), [`Pings`](crate::Pings), the
/// [`PerfSession`](crate::PerfSession) around the datagrams of a sender, and the path tests of `mcast-doctor`. The
/// [`Replier`](crate::Replier) is the other end of all of them.
pub trait Inquiry {
    /// What it reports while it runs.
    type Event;

    /// Returns the next message to send, if one is due. `time` is the time of this host's clock.
    fn poll_transmit(&mut self, now: ClockTime, time: UnixNanos) -> Option<Question<'_>>;

    /// Returns when to call [`poll_transmit`](Self::poll_transmit) again, unless a message arrives before; `None` when
    /// there is nothing more to do.
    fn poll_timeout(&self) -> Option<ClockTime>;

    /// Returns what the latest input was about.
    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }

    /// Handles a message that arrived, at the socket of the peer with this number or of the targets.
    fn handle_datagram(&mut self, now: ClockTime, message: &[u8], source: SocketAddr, peer: Option<usize>);

    /// Handles that the latest message was sent.
    fn handle_sent(&mut self, _now: ClockTime, _to: Recipient) {}

    /// Handles a failure to send to a peer, or to receive from it.
    fn handle_peer_error(&mut self, _peer: usize, _error: &io::Error) {}

    /// Ends the measurement early. There may be messages left to send.
    fn close(&mut self, now: ClockTime);
}
