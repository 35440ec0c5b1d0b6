//! Settings of a subscriber.

use mcast::Membership;

use super::Subscriber;
use crate::StreamError;
use crate::receiver::{Policy, ReceiverConfig, Start};
use crate::seal::Keys;
use crate::wire::StreamId;

/// Settings of a [`Subscriber`].
#[derive(Debug)]
#[must_use]
pub struct SubscriberBuilder {
    pub(super) memberships: Vec<Membership>,
    pub(super) stream: Option<StreamId>,
    pub(super) config: ReceiverConfig,
    pub(super) receive_buffer: usize,
    pub(super) stays: bool,
}

impl SubscriberBuilder {
    pub(super) const fn new() -> Self {
        Self {
            memberships: Vec::new(),
            stream: None,
            config: ReceiverConfig::new(StreamId(0)),
            receive_buffer: 4 << 20,
            stays: false,
        }
    }

    /// Hears the stream on this membership, too. Each is a path; what comes first counts. At
    /// most four.
    pub fn path(mut self, membership: Membership) -> Self {
        self.memberships.push(membership);
        self
    }

    /// Only this stream. Default: the first that is heard.
    pub const fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// From where on. Default: now.
    pub const fn start(mut self, start: Start) -> Self {
        self.config.start = start;
        self
    }

    /// What to do about gaps. Default: reliable.
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.config.policy = policy;
        self
    }

    /// The secrets that open. Default: none.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.config.keys = keys;
        self
    }

    /// Bytes of receive buffer to ask the system for. Default: 4 MiB.
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Whether it stays when the stream has ended, for its publisher's next life. Default: no.
    pub const fn stay(mut self, on: bool) -> Self {
        self.stays = on;
        self
    }

    /// All other settings.
    pub fn configure(mut self, change: impl FnOnce(&mut ReceiverConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Joins.
    ///
    /// # Errors
    /// When a group cannot be joined, or a socket cannot be opened.
    pub fn build(self) -> Result<Subscriber, StreamError> {
        Subscriber::new(self)
    }
}
