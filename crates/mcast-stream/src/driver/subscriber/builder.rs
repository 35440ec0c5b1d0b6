//! The settings of a subscriber.

use mcast::Membership;

use super::Subscriber;
use crate::StreamError;
use crate::seal::Keys;
use crate::subscriber::{Policy, Start, SubscriberConfig};
use crate::wire::StreamId;

/// Settings of a [`Subscriber`].
#[derive(Debug)]
#[must_use]
pub struct SubscriberBuilder {
    pub(super) memberships: Vec<Membership>,
    pub(super) stream: Option<StreamId>,
    pub(super) config: SubscriberConfig,
    pub(super) receive_buffer: usize,
    pub(super) stays: bool,
}

impl SubscriberBuilder {
    pub(super) const fn new() -> Self {
        Self {
            memberships: Vec::new(),
            stream: None,
            config: SubscriberConfig::new(StreamId(0)),
            receive_buffer: 4 << 20,
            stays: false,
        }
    }

    /// Adds a path: a membership to receive the stream on. With several, the first copy of each datagram is kept. At
    /// most four.
    pub fn path(mut self, membership: Membership) -> Self {
        self.memberships.push(membership);
        self
    }

    /// Sets the stream to receive. Default: the first one that is found on the group.
    pub const fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Sets where in the stream to start. Default: now.
    pub const fn start(mut self, start: Start) -> Self {
        self.config.start = start;
        self
    }

    /// Sets what to do about gaps. Default: reliable.
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.config.policy = policy;
        self
    }

    /// Sets the secrets of sealed streams. Default: none.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.config.keys = keys;
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
