//! The settings of a publisher.

use std::path::PathBuf;
#[cfg(feature = "signatures")]
use std::sync::Arc;
use std::time::Duration;

use mcast::{Destination, Family, HostAddr};

use super::Publisher;
use crate::driver::error::UnusedSetting;
use crate::driver::transmit::Endpoint;
use crate::driver::{clock, discovery_group, present_index};
#[cfg(feature = "parity")]
use crate::publisher::Fec;
#[cfg(feature = "acknowledgements")]
use crate::publisher::Quorum;
#[cfg(feature = "auto-rate")]
use crate::publisher::{AutoRate, Congestion};
use crate::publisher::{PublisherConfig, PublisherRate};
use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::Signer;
use crate::wire::{FlowControl, Incarnation, StreamId};
#[cfg(feature = "history")]
use crate::wire::{MessageNumber, Origin};
use crate::{StreamError, StreamStep};

/// How long dropping waits: the same as the default eviction time.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a message waits for others by default: less than a thread takes to wake.
const MAX_DELAY: Duration = Duration::from_micros(50);

/// Settings of a [`Publisher`].
#[derive(Debug)]
#[must_use]
pub struct PublisherBuilder {
    destinations: Vec<Destination>,
    hosts: Vec<HostAddr>,
    broadcast: bool,
    pub(in crate::driver) config: PublisherConfig,
    datagram: Option<usize>,
    hop_limit: Option<u8>,
    loopback: bool,
    pub(super) spin: Duration,
    pub(in crate::driver) drop_timeout: Duration,
    state_file: Option<PathBuf>,
    pub(in crate::driver) name: Option<String>,
    /// The random identity and the incarnation from the clock, which apply unless the caller sets others.
    drawn: (StreamId, Incarnation),
    /// Whether the eviction time was set.
    has_eviction: bool,
}

impl PublisherBuilder {
    pub(super) fn new() -> Self {
        let stream = StreamId(clock::seed());
        let config = PublisherConfig::new(stream, Incarnation(clock::incarnation()));
        let config = config.with(|config| config.linger = MAX_DELAY);
        let drawn = (stream, config.incarnation);
        Self {
            destinations: Vec::new(),
            hosts: Vec::new(),
            broadcast: false,
            config,
            datagram: None,
            hop_limit: None,
            loopback: true,
            spin: Duration::ZERO,
            drop_timeout: DROP_TIMEOUT,
            state_file: None,
            name: None,
            drawn,
            has_eviction: false,
        }
    }

    /// Checks that each setting has an effect.
    pub(super) fn check(&self) -> Result<(), UnusedSetting> {
        if self.state_file.is_some() && self.has_random_stream() {
            return Err(UnusedSetting::StateFile);
        }
        let PublisherConfig { flow, eviction, stream, incarnation, .. } = self.config;
        let default = PublisherConfig::new(stream, incarnation);
        #[cfg(feature = "parity")]
        if matches!(self.config.fec, Fec::Off | Fec::Crowd) && self.config.fec_delay != default.fec_delay {
            return Err(UnusedSetting::FecDelay);
        }
        #[cfg(feature = "auto-rate")]
        let evicts_below = self.config.rate.auto().is_some_and(|auto| auto.evict_below.is_some());
        #[cfg(not(feature = "auto-rate"))]
        let evicts_below = false;
        let is_changed = eviction != default.eviction;
        match (self.has_eviction || is_changed || evicts_below) && flow != FlowControl::Slowest {
            true => Err(UnusedSetting::Eviction),
            false => Ok(()),
        }
    }

    /// Returns the groups and hosts to send to, at least one.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, StreamError> {
        Endpoint::all(&self.destinations, &self.hosts)
    }

    /// Returns how often each datagram is on the wire that the rate limits: groups are paths of their own, and carry it
    /// once each.
    pub(super) fn copies(&self) -> u64 {
        (self.hosts.len() + usize::from(!self.destinations.is_empty())) as u64
    }

    /// Checks that one of the interfaces exists. Those of others may appear later.
    pub(super) fn check_interfaces(endpoints: &[Endpoint]) -> mcast::Result<()> {
        let mut checks = endpoints.iter().map(|each| present_index(each.interface.as_ref()).map(drop));
        let first = checks.next().unwrap_or(Ok(()));
        first.or_else(|error| if checks.any(|check| check.is_ok()) { Ok(()) } else { Err(error) })
    }

    /// Opens a socket to one of the groups and hosts. It follows the interface if one is named.
    pub(super) fn open(&self, endpoint: &Endpoint) -> mcast::Result<mcast::Sender> {
        let follow = present_index(endpoint.interface.as_ref()).map_or(true, |there| there.is_some());
        let builder = mcast::Sender::builder().loopback(self.loopback).broadcast(self.broadcast);
        let builder = self.hop_limit.into_iter().fold(builder, mcast::SenderBuilder::hop_limit);
        endpoint.add_to(builder.follow(follow).send_buffer(4 << 20)).build()
    }

    /// Opens the socket of the announcements.
    pub(super) fn open_discovery(&self, endpoints: &[Endpoint]) -> mcast::Result<mcast::Sender> {
        let builder = mcast::Sender::builder().loopback(self.loopback).broadcast(self.broadcast).follow(true);
        let builder = self.hop_limit.into_iter().fold(builder, mcast::SenderBuilder::hop_limit);
        discovery_group::endpoints(endpoints)
            .iter()
            .fold(builder, |builder, each| each.add_to(builder))
            .build()
    }

    /// Waits until the quarter of a second of this incarnation is over, so that a publisher that is killed and
    /// restarted within it gets another incarnation. A stream with a random identity has no other publisher.
    pub(super) fn wait_for_unique_incarnation(&self) {
        let (stream, incarnation) = self.drawn;
        if self.config.stream != stream && self.config.incarnation == incarnation {
            clock::wait_for_the_next(incarnation);
        }
    }

    /// Whether the stream has a random identity, which no other publisher knows.
    pub(in crate::driver) fn has_random_stream(&self) -> bool {
        self.config.stream == self.drawn.0
    }

    /// Sets an incarnation that is greater than the state file's; returns the one that the file had.
    pub(super) fn begin_incarnation(&mut self) -> Result<Option<Incarnation>, StreamError> {
        let Some(path) = &self.state_file else { return Ok(None) };
        let begun = clock::begin_incarnation(path, self.config.stream, self.config.incarnation);
        let (incarnation, last) = begun.map_err(StreamStep::StateFile(path.clone()).failed())?;
        self.config.incarnation = incarnation;
        Ok(last)
    }

    /// Returns the size of the longest datagram to send, in bytes of UDP payload.
    pub(super) fn longest_datagram(&self, endpoints: &[Endpoint]) -> usize {
        self.datagram.unwrap_or_else(|| path_datagram(endpoints))
    }

    /// Adds a group to publish to. With several, each carries the same datagrams as a redundant path, and subscribers
    /// keep the first copy. At most four.
    pub fn to(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// Adds a host to publish to, on a network without multicast: subscribers there
    /// [listen](crate::SubscriberBuilder::listen) at the address and port. At most 64.
    ///
    /// New data, heartbeats, and repairs that several subscribers need are sent to each of these hosts. One that is
    /// unreachable does not delay the others: it is reported ([`PathChange`](crate::PathChange)), and gets only
    /// heartbeats until it answers. An IPv4 broadcast address also needs [`broadcast`](Self::broadcast).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = mcast_stream::Publisher::builder();
    /// let publisher = builder.to_host("10.0.0.5:7000".parse()?).to_host("10.0.0.6:7000".parse()?).build()?;
    /// publisher.publish(b"hello")?;
    /// # Ok(()) }
    /// ```
    pub fn to_host(mut self, host: HostAddr) -> Self {
        self.hosts.push(host);
        self
    }

    /// Sets whether hosts may be IPv4 broadcast addresses, which all hosts of a subnet receive. Default: no.
    pub const fn broadcast(mut self, on: bool) -> Self {
        self.broadcast = on;
        self
    }

    /// Sets the stream's identity. Default: random.
    pub const fn stream(mut self, stream: StreamId) -> Self {
        self.config.stream = stream;
        self
    }

    /// Sets this publisher's incarnation, which must be greater than any that the stream had. Default: from the time of
    /// day, in quarters of a second. With a chosen [`stream`](Self::stream), publishing then starts with the next
    /// quarter, so that a publisher that is killed and restarted at once has another incarnation.
    pub const fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.config.incarnation = incarnation;
        self
    }

    /// Sets a file that stores the incarnation. Default: none. It is an error without a [`stream`](Self::stream).
    ///
    /// With it, every start of the [`stream`](Self::stream) has a greater incarnation than the one before, even after
    /// the clock was set back. It is written, and synced to the disk, before the first datagram is sent. Without it,
    /// subscribers ignore a publisher with a lower incarnation than the last one for as long as that one is active, and
    /// then cannot know how much they missed.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// Sets the rate in bytes per second, on each path. It includes the copies to all [hosts](Self::to_host). Default:
    /// unlimited.
    pub const fn rate(mut self, bytes_per_second: u64) -> Self {
        self.config.rate = PublisherRate::Fixed(bytes_per_second);
        self
    }

    /// Adapts the rate to the path to the slowest subscriber, fair to TCP flows on it, instead of a fixed rate. This
    /// replaces the [congestion control](Self::congestion). Default: the rate is not limited.
    ///
    /// Without a subscriber that reports what it receives, the rate is 1 Mbit/s.
    #[cfg(feature = "auto-rate")]
    pub const fn auto_rate(mut self, settings: AutoRate) -> Self {
        self.config.rate = PublisherRate::Auto(settings);
        self
    }

    /// Sets the size of the retransmission buffer in bytes. Default: 8 MiB, which fits a processor's cache.
    pub const fn retransmission_buffer(mut self, bytes: usize) -> Self {
        self.config.retransmission_buffer = bytes;
        self
    }

    /// Sets the flow control: which subscribers it waits for. Default: the slowest, as long as that one makes progress.
    pub const fn flow(mut self, flow: FlowControl) -> Self {
        self.config.flow = flow;
        self
    }

    /// Sets the forward error correction. Default: [`Fec::Crowd`].
    ///
    /// Without feedback ([`FlowControl::OneWay`]), each block of 20 datagrams survives the loss of any four of its 24
    /// datagrams and symbols, and what is lost beyond that is reported to subscribers:
    ///
    /// ```no_run
    /// use mcast_stream::Publisher;
    /// use mcast_stream::publisher::Fec;
    /// use mcast_stream::wire::FlowControl;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let publisher = Publisher::builder()
    ///     .to("239.255.2.3%eth0:7000".parse()?)
    ///     .fec(Fec::Fixed { data: 20, parity: 4 })
    ///     .flow(FlowControl::OneWay)
    ///     .rate(1_250_000)
    ///     .build()?;
    /// publisher.publish(b"hello")?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "parity")]
    pub const fn fec(mut self, fec: Fec) -> Self {
        self.config.fec = fec;
        self
    }

    /// Sets the longest time for which a block waits to be full, 1 ms to 10 s, before its parity is sent. Default: 10 ms. It
    /// is an error to change it with [`Fec::Off`] or [`Fec::Crowd`].
    ///
    /// A slow stream sends the parity of a whole block for fewer datagrams. With a longer time it needs less parity, and what
    /// is lost is recovered later. With feedback, subscribers request what they lack after 10 ms all the same.
    #[cfg(feature = "parity")]
    pub fn fec_delay(mut self, time: Duration) -> Self {
        self.config.fec_delay = time;
        self
    }

    /// Sets the congestion control: what it does about a network that is too slow. Default: it slows down.
    #[cfg(feature = "auto-rate")]
    pub const fn congestion(mut self, congestion: Congestion) -> Self {
        self.config.congestion = congestion;
        self
    }

    /// Sets the time after which a subscriber that makes no progress, and delays the others, is evicted. Default: 2 s. It
    /// is an error to set it with a [flow control](Self::flow) that waits for no subscriber.
    pub fn eviction(mut self, time: Duration) -> Self {
        self.config.eviction = time;
        self.has_eviction = true;
        self
    }

    /// Sets which subscribers must acknowledge messages. Default: none.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use mcast_stream::publisher::{Acknowledgers, Quorum};
    /// use mcast_stream::{Publisher, Until};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let quorum = Quorum::new(Acknowledgers::Count(2));
    /// let publisher = Publisher::builder().to("239.255.2.3%eth0:7000".parse()?).acknowledge(quorum).build()?;
    /// // Blocks until two subscribers are present.
    /// let number = publisher.publish(b"hello")?;
    /// assert!(publisher.wait(Until::MessageAcknowledged(number), Duration::from_secs(1))?);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "acknowledgements")]
    pub fn acknowledge(mut self, quorum: Quorum) -> Self {
        self.config.quorum = Some(quorum);
        self
    }

    /// Sets the size of the longest message, in bytes. Default: 16 MiB.
    pub const fn longest_message(mut self, bytes: usize) -> Self {
        self.config.longest_message = bytes;
        self
    }

    /// Sets the size of the longest datagram, in bytes of UDP payload. Default: what fits the MTU of the interface if
    /// that is known, else 1,232.
    pub const fn datagram(mut self, bytes: usize) -> Self {
        self.datagram = Some(bytes);
        self
    }

    /// Sets the secrets to seal with. Default: none.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.config.keys = keys;
        self
    }

    /// Sets the key to sign with, such as a [`SigningKey`](crate::sign::SigningKey). Default: none.
    ///
    /// Subscribers that are given its public key deliver only what this publisher has signed, whatever other members of the
    /// group send. Each datagram is delivered once a signature that covers it has arrived: at most a millisecond later.
    #[cfg(feature = "signatures")]
    pub fn signing_key(mut self, key: Arc<dyn Signer>) -> Self {
        self.config.signer = Some(key);
        self
    }

    /// Sets the hop limit (TTL). Default: 1, and for hosts the system's.
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = Some(hops);
        self
    }

    /// Sets whether subscribers on this host get the stream. Default: yes.
    pub const fn loopback(mut self, on: bool) -> Self {
        self.loopback = on;
        self
    }

    /// Announces the stream under this name once per second, for [`discover`](crate::discover). The announcement of a
    /// sealed stream is sealed, too.
    pub fn announce(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how long a message may wait to share a datagram and a system call with others, when messages are published faster
    /// than datagrams can be sent. With zero, each message is sent at once. Default: 50 µs.
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.config.linger = delay;
        self
    }

    /// Sets how long the threads that receive feedback, one for each destination, poll in a loop before they sleep. Losses are
    /// repaired sooner, but each thread keeps a processor busy. Publishing itself does not depend on it. Default: zero.
    pub const fn spin(mut self, time: Duration) -> Self {
        self.spin = time;
        self
    }

    /// Sets how long dropping the publisher waits. Default: 2 s.
    ///
    /// A publisher that is dropped sends everything that it has accepted, and repairs it until all subscribers that it
    /// waits for have it. That takes at most this time, and in addition the time that the configured rate takes for
    /// what was not sent yet. What has not arrived by then is lost without a report: [`close`](Publisher::close)
    /// reports it, and a publisher that was closed is dropped without waiting. With zero, dropping waits for
    /// nothing, and what was accepted and not sent is lost.
    pub const fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Sets the time without a datagram of a subscriber after which it counts as departed. Default: 5 s.
    pub const fn subscriber_timeout(mut self, time: Duration) -> Self {
        self.config.subscriber_timeout = time;
        self
    }

    /// Sets the largest number of subscribers known at a time. Each takes about 2 kB of memory. Default:
    /// [`PublisherConfig::MOST_SUBSCRIBERS`].
    pub const fn most_subscribers(mut self, count: usize) -> Self {
        self.config.most_subscribers = count;
        self
    }

    /// Sets the longest time between two heartbeats, at most 1 s. Default: 1 s.
    pub const fn idle_interval(mut self, time: Duration) -> Self {
        self.config.idle_interval = time;
        self
    }

    /// Sets where the messages come from, and the number of the first one: for a publisher that reads them from elsewhere, such
    /// as an engine. Default: from nowhere, and 0.
    #[cfg(feature = "history")]
    pub fn origin(mut self, origin: Origin, first_message: MessageNumber) -> Self {
        self.config.origin = Some(origin);
        self.config.first_message = first_message;
        self
    }

    /// Changes settings that users do not set: what a log continues with.
    pub(in crate::driver) fn configure(mut self, change: impl FnOnce(&mut PublisherConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Opens the sockets and starts the threads. At least one path must have its interface. Other paths are used as
    /// soon as theirs exist and are up; see [`Publisher::path_change`].
    ///
    /// # Errors
    /// If a socket cannot be opened, or the settings are invalid.
    pub fn build(self) -> Result<Publisher, StreamError> {
        Publisher::new(self)
    }
}

/// Returns the longest datagram that fits the MTU of all the interfaces, as far as they are known.
fn path_datagram(endpoints: &[Endpoint]) -> usize {
    const IPV6_MINIMUM: usize = 1_232;
    let of_one = |endpoint: &Endpoint| {
        let interface = endpoint.interface().ok()??;
        let headers = if endpoint.family() == Family::V4 { 28 } else { 48 };
        Some((interface.mtu as usize).clamp(IPV6_MINIMUM + headers, 9_000) - headers)
    };
    endpoints.iter().map(|each| of_one(each).unwrap_or(IPV6_MINIMUM)).min().unwrap_or(IPV6_MINIMUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_without_an_effect_is_refused() {
        let second = Duration::from_secs(1);
        let floor = AutoRate { evict_below: Some(1_000) };
        let refused = |change: &dyn Fn(PublisherBuilder) -> PublisherBuilder| {
            let builder = Publisher::builder().to_host("127.0.0.1:7000".parse().unwrap());
            match change(builder).build() {
                Ok(_) => None,
                Err(StreamError::NoEffect(setting)) => Some(setting),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(refused(&|to| to.eviction(second)), None);
        assert_eq!(refused(&|to| to.flow(FlowControl::None)), None);
        assert_eq!(refused(&|to| to.auto_rate(floor)), None);
        let unused = Some(UnusedSetting::Eviction);
        for flow in [FlowControl::None, FlowControl::OneWay] {
            assert_eq!(refused(&|to| to.flow(flow).eviction(second)), unused, "{flow:?}");
            assert_eq!(refused(&|to| to.flow(flow).eviction(2 * second)), unused, "{flow:?}: the default");
            assert_eq!(refused(&|to| to.flow(flow).auto_rate(floor)), unused, "{flow:?}");
        }
        assert_eq!(refused(&|to| to.fec_delay(second)), Some(UnusedSetting::FecDelay));
        assert_eq!(refused(&|to| to.fec(Fec::Auto).fec_delay(second)), None);
        assert_eq!(refused(&|to| to.state_file("/nowhere/state")), Some(UnusedSetting::StateFile));
    }
}
