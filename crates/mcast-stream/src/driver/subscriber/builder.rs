//! The settings of a subscriber.

use std::net::SocketAddr;

use mcast::{Family, HostAddr, InterfaceSelector, Membership};

use super::Subscriber;
use crate::StreamError;
use crate::driver::clock;
use crate::history::{HistoryConfig, HistoryStart};
use crate::seal::Keys;
use crate::sign::PinnedKeys;
use crate::subscriber::{LocalRepair, OnLoss, Policy, Start, SubscriberConfig};
use crate::wire::{StreamId, SubscriberName};

/// Settings of a [`Subscriber`].
#[derive(Debug)]
#[must_use]
pub struct SubscriberBuilder {
    pub(super) memberships: Vec<Membership>,
    hosts: Vec<HostAddr>,
    broadcasts: Vec<(u16, Option<InterfaceSelector>)>,
    pub(super) stream: Option<StreamId>,
    pub(super) config: SubscriberConfig,
    pub(super) receive_buffer: usize,
    pub(super) stays: bool,
    pub(super) history: Option<HistoryConfig>,
    pub(super) history_servers: Vec<SocketAddr>,
}

impl SubscriberBuilder {
    pub(super) const fn new() -> Self {
        Self {
            memberships: Vec::new(),
            hosts: Vec::new(),
            broadcasts: Vec::new(),
            stream: None,
            config: SubscriberConfig::new(StreamId(0)),
            receive_buffer: 4 << 20,
            stays: false,
            history: None,
            history_servers: Vec::new(),
        }
    }

    /// Adds a path: a membership to receive the stream on. With several, the first copy of each datagram is kept. At
    /// most four.
    pub fn path(mut self, membership: Membership) -> Self {
        self.memberships.push(membership);
        self
    }

    /// Also receives the stream at this address and port of this machine, on a network without multicast: its publisher
    /// sends it [to this host](crate::PublisherBuilder::to_host). The address may be `0.0.0.0` or `[::]`. All these
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

    /// Also receives the stream from IPv4 broadcasts to this port; see
    /// [`ReceiverBuilder::listen_broadcast`](mcast::ReceiverBuilder::listen_broadcast).
    pub fn listen_broadcast(mut self, port: u16, interface: Option<InterfaceSelector>) -> Self {
        self.broadcasts.push((port, interface));
        self
    }

    /// Whether it receives what is sent to hosts.
    pub(super) const fn listens(&self) -> bool {
        !self.hosts.is_empty() || !self.broadcasts.is_empty()
    }

    /// Returns the address families of all paths.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> + '_ {
        let groups = self.memberships.iter().map(|each| each.address.group.family());
        let hosts = self.hosts.iter().map(HostAddr::family);
        groups.chain(hosts).chain(self.broadcasts.iter().map(|_| Family::V4))
    }

    /// Returns the settings of the receiver.
    pub(super) fn receiver(&self) -> mcast::ReceiverBuilder {
        let builder = mcast::Receiver::builder().receive_buffer(self.receive_buffer);
        let builder = builder.join_all(self.memberships.iter().cloned());
        let builder = self.hosts.iter().cloned().fold(builder, mcast::ReceiverBuilder::listen);
        self.broadcasts
            .iter()
            .fold(builder, |builder, (port, interface)| builder.listen_broadcast(*port, interface.clone()))
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

    /// Starts in the past: with messages from a history server, if the publisher does not retain them, and then the live
    /// stream, without a gap or a repeat between them. Servers are found by their announcements, unless one
    /// [is named](Self::history_server). What no server has is reported as lost.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use mcast_stream::Subscriber;
    /// use mcast_stream::history::HistoryStart;
    ///
    /// let builder = Subscriber::builder().path("239.1.2.3%eth0:7000".parse()?);
    /// let mut subscriber = builder.from(HistoryStart::Oldest).build()?;
    /// while let Some(item) = subscriber.next()? {
    ///     println!("{item:?}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn from(mut self, start: HistoryStart) -> Self {
        self.history.get_or_insert_default().start = Some(start);
        self
    }

    /// Sets whether messages that the publisher can no longer repair are requested from a history server before they are
    /// reported as lost. Meanwhile, the messages after them wait. Default: no.
    pub fn heal(mut self, on: bool) -> Self {
        self.history.get_or_insert_default().heal = on;
        self
    }

    /// Adds the address of a history server. With any, announced ones are not used: any host can announce a history of
    /// a stream in clear.
    pub fn history_server(mut self, address: SocketAddr) -> Self {
        self.history_servers.push(address);
        self
    }

    /// Changes any other setting of the history.
    pub fn configure_history(mut self, change: impl FnOnce(&mut HistoryConfig)) -> Self {
        change(self.history.get_or_insert_default());
        self
    }

    /// Prepares the settings for a history; returns those of the history, if one is used.
    pub(super) fn prepare_history(&mut self) -> Result<Option<HistoryConfig>, StreamError> {
        let uses_snapshots =
            self.config.start == Start::Snapshot || self.config.policy == Policy::Reliable(OnLoss::Snapshot);
        if uses_snapshots && !self.config.signed_by.is_empty() {
            return Err(StreamError::NotSigned);
        }
        let Some(mut history) = self.history.take().filter(|history| history.start.is_some() || history.heal)
        else {
            return Ok(None);
        };
        if !self.config.signed_by.is_empty() {
            return Err(StreamError::NotSigned);
        }
        match self.config.policy {
            Policy::Latest | Policy::Reliable(OnLoss::Snapshot) => return Err(StreamError::HistoryOrder),
            Policy::Reliable(OnLoss::Stop) => {
                // Only a loss that is not in the history stops it.
                (self.config.policy, history.stops) = (Policy::Reliable(OnLoss::Continue), true);
            }
            Policy::Reliable(OnLoss::Continue) | Policy::Deadline(_) | Policy::BestEffort(_) => {}
        }
        match (history.start, self.config.start) {
            (None, Start::Snapshot) => return Err(StreamError::HistoryOrder),
            (None, _) => {}
            // What the publisher retains needs no history.
            (Some(HistoryStart::Oldest | HistoryStart::Number(_) | HistoryStart::At(_)), _) => {
                self.config.start = Start::Oldest;
            }
            (Some(HistoryStart::Time(_)), _) => self.config.start = Start::Now,
        }
        Ok(Some(history))
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
    /// It sends at most a quarter of what it receives, only to addresses that have proven themselves, and only while its
    /// [policy](Self::policy) requests repairs.
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
    pub fn signed_by(mut self, keys: PinnedKeys) -> Self {
        self.config.signed_by = keys;
        self
    }

    /// Sets the size of the receive buffer to request from the system, in bytes. Default: 4 MiB.
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Sets whether to stay subscribed when the stream has ended, for its publisher's next incarnation. Default: no.
    pub const fn stay(mut self, on: bool) -> Self {
        self.stays = on;
        self
    }

    /// Changes any other setting.
    pub fn configure(mut self, change: impl FnOnce(&mut SubscriberConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Joins the groups and returns the subscriber.
    ///
    /// # Errors
    /// If a group cannot be joined, or a socket cannot be opened.
    pub fn build(self) -> Result<Subscriber, StreamError> {
        Subscriber::new(self)
    }
}
