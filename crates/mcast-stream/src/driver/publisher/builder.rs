//! Settings of a publisher.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mcast::{Destination, Family};

use super::Publisher;
use crate::StreamError;
use crate::driver::{clock, interface, state_file};
use crate::seal::Keys;
use crate::sender::{Congestion, SenderConfig};
use crate::wire::{FlowControl, Incarnation, StreamId};

/// How long dropping waits: as long as a publisher waits for a receiver that makes no progress.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of a [`Publisher`].
#[derive(Debug)]
#[must_use]
pub struct PublisherBuilder {
    pub(super) destinations: Vec<Destination>,
    pub(super) config: SenderConfig,
    datagram: Option<usize>,
    hop_limit: u8,
    loopback: bool,
    pub(super) drop_timeout: Duration,
    state_file: Option<PathBuf>,
    pub(super) name: Option<String>,
    /// What was drawn, in case nothing else is chosen.
    drawn: (StreamId, Incarnation),
}

impl PublisherBuilder {
    pub(super) fn new() -> Self {
        let stream = StreamId(clock::seed());
        let config = SenderConfig::new(stream, Incarnation(clock::incarnation()));
        let drawn = (stream, config.incarnation);
        Self {
            destinations: Vec::new(),
            config,
            datagram: None,
            hop_limit: 1,
            loopback: true,
            drop_timeout: DROP_TIMEOUT,
            state_file: None,
            name: None,
            drawn,
        }
    }

    /// One of the interfaces must be there. Of several paths the others may come later.
    pub(super) fn check_interfaces(&self) -> mcast::Result<()> {
        let mut checks =
            self.destinations.iter().map(|each| interface::there_now(each.interface.as_ref()).map(drop));
        let first = checks.next().unwrap_or(Ok(()));
        first.or_else(|error| if checks.any(|check| check.is_ok()) { Ok(()) } else { Err(error) })
    }

    /// A socket to one of the destinations, which follows its interface if one is named.
    pub(super) fn open(&self, destination: &Destination) -> mcast::Result<mcast::Sender> {
        let follow =
            interface::there_now(destination.interface.as_ref()).map_or(true, |there| there.is_some());
        let builder = mcast::Sender::builder().hop_limit(self.hop_limit).loopback(self.loopback);
        builder.follow(follow).send_buffer(4 << 20).to(destination.clone()).build()
    }

    /// Waits until no other life of the stream can have this incarnation from the clock: one that was killed in the same
    /// quarter of a second has sent nothing then. A stream that was drawn at random has no other life.
    pub(super) fn outlive_others(&self) {
        let (stream, incarnation) = self.drawn;
        if self.config.stream != stream && self.config.incarnation == incarnation {
            clock::wait_for_the_next(incarnation);
        }
    }

    /// Takes an incarnation that the state file has not had; returns the one that it had.
    pub(super) fn begin_incarnation(&mut self) -> Result<Option<Incarnation>, StreamError> {
        let Some(path) = &self.state_file else { return Ok(None) };
        let begun = state_file::begin(path, self.config.stream, self.config.incarnation);
        let (incarnation, last) =
            begun.map_err(|cause| StreamError::State { path: path.display().to_string(), cause })?;
        self.config.incarnation = incarnation;
        Ok(last)
    }

    /// The longest datagram that is to be sent.
    pub(super) fn longest_datagram(&self) -> usize {
        self.datagram.unwrap_or_else(|| path_datagram(&self.destinations))
    }

    /// Sends to this group, too: a stream on several is the same on each, and who hears two
    /// takes what comes first. At most four.
    pub fn to(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// The stream's identity. Default: random.
    pub const fn stream(mut self, stream: StreamId) -> Self {
        self.config.stream = stream;
        self
    }

    /// The life of this publisher: greater than any that the stream had. Default: from the time of day, in
    /// quarters of a second; a [`stream`](Self::stream) that was chosen then begins with the next quarter, so that a
    /// publisher that was killed and started again at once has another one.
    pub const fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.config.incarnation = incarnation;
        self
    }

    /// A file that remembers the incarnation. Default: none.
    ///
    /// With it every start of the [`stream`](Self::stream) has a greater incarnation than the one before, also after
    /// the clock was set back. It is written, and synced to the disk, before the first datagram leaves. Subscribers
    /// ignore a publisher whose incarnation is lower than that of the one before for as long as they hear that one,
    /// and then cannot know how much they missed.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// Bytes a second. Default: as fast as it goes.
    pub const fn rate(mut self, bytes_per_second: u64) -> Self {
        self.config.rate = Some(bytes_per_second);
        self
    }

    /// Bytes that are kept for repairs. Default: 8 MiB, which a processor's cache holds.
    pub const fn history(mut self, bytes: usize) -> Self {
        self.config.history = bytes;
        self
    }

    /// For whom it waits. Default: for the slowest receiver, for as long as that gets on.
    pub const fn flow(mut self, flow: FlowControl) -> Self {
        self.config.flow = flow;
        self
    }

    /// What it does about a network that cannot carry what it sends. Default: it slows down.
    pub const fn congestion(mut self, congestion: Congestion) -> Self {
        self.config.congestion = congestion;
        self
    }

    /// A receiver that keeps the others waiting must get on within this time. Default: 2 s.
    pub fn eviction(mut self, time: Duration) -> Self {
        self.config.eviction = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// The longest message, in bytes. Default: 16 MiB.
    pub const fn longest_message(mut self, bytes: usize) -> Self {
        self.config.longest_message = bytes;
        self
    }

    /// The longest datagram, in bytes of UDP payload. Default: what the interface takes, if it
    /// is known, else 1,232.
    pub const fn datagram(mut self, bytes: usize) -> Self {
        self.datagram = Some(bytes);
        self
    }

    /// The secrets that seal. Default: none.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.config.keys = keys;
        self
    }

    /// How many networks a datagram may cross. Default: 1.
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// Whether receivers on this host hear it. Default: yes.
    pub const fn loopback(mut self, on: bool) -> Self {
        self.loopback = on;
        self
    }

    /// Tells this name every second to those who look for streams ([`discover`](crate::discover)).
    /// Of a sealed stream only those who have its key see it.
    pub fn announce(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long dropping the publisher waits. Default: 2 s.
    ///
    /// A publisher that is dropped sends everything that it has accepted, and repairs it until all receivers that it
    /// waits for have it. That takes at most this time, and in addition the time that the configured rate takes for
    /// what was not sent yet. What has not arrived by then is lost without a report: [`close`](Publisher::close)
    /// reports it, and a publisher that was closed is dropped without waiting. With zero, dropping waits for
    /// nothing, and what was accepted and not sent is lost.
    pub const fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// All other settings.
    pub fn configure(mut self, change: impl FnOnce(&mut SenderConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Opens the sockets and starts the threads. Of several paths one must have its interface: the others are used as
    /// soon as theirs are there and up, see [`Publisher::path_change`].
    ///
    /// # Errors
    /// When a socket cannot be opened, or the settings cannot be.
    pub fn build(self) -> Result<Publisher, StreamError> {
        Publisher::new(self)
    }
}

pub(in crate::driver) const fn any_address(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        Family::V6 => SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

/// The longest datagram that all the interfaces take whole, if they are known.
fn path_datagram(destinations: &[Destination]) -> usize {
    const IPV6_MINIMUM: usize = 1_232;
    let of_one = |destination: &Destination| {
        let family = destination.address.group.family();
        let interface = match &destination.interface {
            Some(selector) => mcast::find(selector).ok()?,
            None => mcast::default_interface_of(family).ok()??,
        };
        let headers = if family == Family::V4 { 28 } else { 48 };
        Some((interface.mtu as usize).clamp(IPV6_MINIMUM + headers, 9_000) - headers)
    };
    destinations.iter().map(|each| of_one(each).unwrap_or(IPV6_MINIMUM)).min().unwrap_or(IPV6_MINIMUM)
}
