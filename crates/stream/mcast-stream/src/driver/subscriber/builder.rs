//! The settings of a subscriber.

#[cfg(feature = "history")]
use std::net::SocketAddr;
use std::time::Duration;

use mcast::{Family, HostAddr, Membership, Wire};

use super::Subscriber;
use crate::StreamError;
#[cfg(feature = "local-repair")]
use crate::driver::clock;
use crate::driver::error::UnusedSetting;
use crate::driver::history::HistorySettings;
#[cfg(feature = "history")]
use crate::history::HistoryStart;
use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::PinnedKeys;
#[cfg(feature = "local-repair")]
use crate::subscriber::LocalRepair;
use crate::subscriber::{OnLoss, Policy, Start, SubscriberConfig};
#[cfg(feature = "history")]
use crate::wire::MessageNumber;
use crate::wire::{StreamId, SubscriberName};

/// The least that is worth retaining for others, in bytes: a longest datagram.
#[cfg(feature = "local-repair")]
const LEAST_RETAINED: usize = 65_536;

/// Settings of a [`Subscriber`].
#[derive(Debug)]
#[must_use]
pub struct SubscriberBuilder {
    pub(super) memberships: Vec<Membership>,
    hosts: Vec<HostAddr>,
    pub(super) stream: Option<StreamId>,
    pub(super) config: SubscriberConfig,
    pub(super) receive_buffer: usize,
    pub(super) spin: Duration,
    wire: Wire,
    pub(super) follows_restarts: bool,
    pub(in crate::driver) history: HistorySettings,
}

impl SubscriberBuilder {
    pub(super) const fn new() -> Self {
        Self {
            memberships: Vec::new(),
            hosts: Vec::new(),
            stream: None,
            config: SubscriberConfig::new(StreamId(0)),
            receive_buffer: 4 << 20,
            spin: Duration::ZERO,
            wire: Wire::Off,
            follows_restarts: false,
            history: HistorySettings::new(),
        }
    }

    /// Adds a path: a membership to receive the stream on. With several, the first copy of each datagram is kept. At
    /// most four.
    pub fn join(mut self, membership: Membership) -> Self {
        self.memberships.push(membership);
        self
    }

    /// Also receives the stream at this address and port of this machine, on a network without multicast: its publisher
    /// sends it [to this host](crate::PublisherBuilder::to_host). The address may be `0.0.0.0` or `[::]`, and
    /// 255.255.255.255 for broadcasts, as for [`ReceiverBuilder::listen`](mcast::ReceiverBuilder::listen). All these
    /// addresses together are one path.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut subscriber = mcast_stream::Subscriber::builder().listen("0.0.0.0:7000".parse()?).build()?;
    /// while let Some(item) = subscriber.next()? {
    ///     println!("{item:?}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn listen(mut self, host: HostAddr) -> Self {
        self.hosts.push(host);
        self
    }

    /// Whether it receives what is sent to hosts.
    pub(super) const fn listens(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Returns the address families of all paths.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> + '_ {
        let groups = self.memberships.iter().map(|each| each.address.group.family());
        let hosts = self.hosts.iter().map(HostAddr::family);
        groups.chain(hosts)
    }

    /// Returns the settings of the receiver, without the groups.
    pub(super) fn receiver(&self) -> mcast::ReceiverBuilder {
        let builder = mcast::Receiver::builder().receive_buffer(self.receive_buffer).wire(self.wire);
        self.hosts.iter().cloned().fold(builder, mcast::ReceiverBuilder::listen)
    }

    /// Sets the stream to receive. Default: the first one that is found on the group.
    pub const fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Sets the name that publishers know this subscriber by. It is a claim: in a clear stream anybody can make it, and in
    /// a sealed one all members of the group can. Default: none.
    pub const fn name(mut self, name: SubscriberName) -> Self {
        self.config.name = Some(name);
        self
    }

    /// Sets where in the stream to start. Default: now.
    pub const fn start(mut self, start: Start) -> Self {
        self.config.start = start;
        self
    }

    /// Checks the settings as [`build`](Self::build) does, for a caller that has other things to do before.
    ///
    /// # Errors
    /// If a setting has no effect together with the others, or contradicts them.
    pub fn check(&self) -> Result<(), StreamError> {
        let SubscriberConfig { policy, start, .. } = self.config;
        #[cfg(feature = "local-repair")]
        match self.config.repair_for_others {
            Some(_) if self.config.mute || matches!(policy, Policy::BestEffort(_)) => {
                return Err(UnusedSetting::RepairForOthers.into());
            }
            Some(LocalRepair { bytes, .. }) if bytes < LEAST_RETAINED => {
                return Err(UnusedSetting::RepairForOthersBytes(bytes).into());
            }
            _ => {}
        }
        let uses_snapshots = start == Start::Snapshot || policy == Policy::Reliable(OnLoss::Snapshot);
        let uses_history = self.history.is_used();
        if (uses_snapshots || uses_history) && self.config.verifies() {
            return Err(StreamError::NotSigned);
        }
        if uses_history && (uses_snapshots || policy == Policy::Latest) {
            return Err(StreamError::HistoryOrder);
        }
        if self.history.has_unused() {
            return Err(UnusedSetting::History.into());
        }
        Ok(())
    }

    /// Sets what to do about gaps. Default: reliable.
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.config.policy = policy;
        self
    }

    /// Repairs for other subscribers: retains this many bytes of what it receives, with 64 bytes for each datagram, and answers
    /// their NAKs from it, on its own UDP port. The publisher lists its address.
    /// [`LocalRepair::BYTES`](crate::subscriber::LocalRepair::BYTES) is the usual number. Default: no.
    ///
    /// It sends at most a quarter of what it receives, and only to addresses that have proven themselves. It is an error
    /// with fewer than 65,536 bytes, and with a [policy](Self::policy) that requests no repairs.
    #[cfg(feature = "local-repair")]
    pub fn repair_for_others(mut self, bytes: usize) -> Self {
        self.config.repair_for_others = Some(LocalRepair { bytes, seed: clock::seed() });
        self
    }

    /// Sets the secrets of sealed streams. Default: none.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.config.keys = keys;
        self
    }

    /// Sets the public keys of the publisher. Default: none.
    ///
    /// With any, nothing is delivered or reported that none of them has signed. It is an error to combine them with a
    /// history or with snapshots, which are not signed.
    #[cfg(feature = "signatures")]
    pub fn signed_by(mut self, keys: PinnedKeys) -> Self {
        self.config.signed_by = keys;
        self
    }

    /// Sets the size of the receive buffer to request from the system, in bytes. Default: 4 MiB.
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Sets how long a wait polls in a loop before it sleeps, which trades processor time for latency. Default: zero. The
    /// asynchronous [`next`](crate::tokio::Subscriber::next) lets other tasks run between two polls.
    pub const fn spin(mut self, time: Duration) -> Self {
        self.spin = time;
        self
    }

    /// Sets whether datagrams are taken off the interface before the kernel's network stack, as
    /// [`ReceiverBuilder::wire`](mcast::ReceiverBuilder::wire) does; [`receiver`](Subscriber::receiver) reports how each
    /// path is received. What is sent to this host alone, such as repairs, arrives by its socket. Default: [`Wire::Off`].
    pub const fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Sets whether to stay subscribed when the stream has ended, for its publisher's next incarnation. Default: no.
    pub const fn follow_restarts(mut self, on: bool) -> Self {
        self.follows_restarts = on;
        self
    }

    /// Sets whether it sends nothing to the publisher, so that nothing is repaired. Default: no.
    pub const fn mute(mut self, on: bool) -> Self {
        self.config.mute = on;
        self
    }

    /// Sets the size of the longest message that it accepts, in bytes. Default: 16 MiB.
    pub const fn longest_message(mut self, bytes: usize) -> Self {
        self.config.longest_message = bytes;
        self
    }

    /// Sets how many bytes of datagrams it buffers out of order. Default: 64 MiB.
    pub const fn window_bytes(mut self, bytes: usize) -> Self {
        self.config.window_bytes = bytes;
        self
    }

    /// Sets the number of keys whose latest message it remembers, with [`Policy::Latest`]. Default: 1,048,576.
    pub const fn most_keys(mut self, count: usize) -> Self {
        self.config.most_keys = count;
        self
    }

    /// Sets the time after which a silent publisher is reported. Default: 5 s.
    pub const fn publisher_silence(mut self, time: Duration) -> Self {
        self.config.publisher_silence = time;
        self
    }

    /// Joins the groups and returns the subscriber.
    ///
    /// # Errors
    /// If the [settings](Self::check) are invalid, a group cannot be joined, or a socket cannot be opened.
    pub fn build(self) -> Result<Subscriber, StreamError> {
        Subscriber::new(self)
    }
}

/// Settings of a history.
#[cfg(feature = "history")]
impl SubscriberBuilder {
    /// Starts in the past: with messages from a history server, if the publisher does not retain them, and then the live
    /// stream, without a gap or a repeat between them. Servers are found by their announcements, unless one
    /// [is named](Self::history_server). What no server has is reported as lost.
    ///
    /// A publisher does not wait for a subscriber that it does not know yet. What it discards before it can repair it is
    /// therefore requested as well, also later, until a request gets no answer.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use mcast_stream::Subscriber;
    /// use mcast_stream::history::HistoryStart;
    ///
    /// let builder = Subscriber::builder().join("239.255.2.3%eth0:7000".parse()?);
    /// let mut subscriber = builder.history_from(HistoryStart::Oldest).build()?;
    /// while let Some(item) = subscriber.next()? {
    ///     println!("{item:?}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn history_from(mut self, start: HistoryStart) -> Self {
        self.history.config().start = Some(start);
        self
    }

    /// Sets whether messages are requested from a history server before they are reported as lost, whatever the
    /// [cause](crate::subscriber::Cause). Meanwhile, the messages after them wait. Default: no; after a start
    /// [in the past](Self::history_from) those that the publisher no longer retains.
    pub fn heal(mut self, on: bool) -> Self {
        self.history.config().heal = on;
        self
    }

    /// Adds the address of a history server. With any, announced ones are not used: any host can announce a history of
    /// a stream in clear. It is an error without [`history_from`](Self::history_from) and [`heal`](Self::heal).
    pub fn history_server(mut self, address: SocketAddr) -> Self {
        self.history.add_server(address);
        self
    }

    /// Sets the memory for the live stream while messages come from the history, in bytes: what exceeds it comes from the
    /// history as well. Default: 64 MiB. It is an error without [`history_from`](Self::history_from) and [`heal`](Self::heal).
    pub fn history_backlog(mut self, bytes: usize) -> Self {
        self.history.config().backlog = bytes;
        self
    }

    /// Sets how long a server says that it has nothing more before what is missing counts as lost, as described at
    /// [`HistoryConfig::timeout`](crate::history::HistoryConfig::timeout). Default: 5 s. It is an error without
    /// [`history_from`](Self::history_from) and [`heal`](Self::heal).
    pub fn history_timeout(mut self, time: Duration) -> Self {
        self.history.config().timeout = time;
        self
    }

    /// Sets the first message that the application has processed without a loss up to where it starts in the history, with
    /// [`HistoryStart::At`]: a subscriber with a [name](Self::name) acknowledges them. Default: none.
    pub fn processed_since(mut self, message: MessageNumber) -> Self {
        self.history.config().processed_since = Some(message);
        self
    }
}
