//! Which subscribers must acknowledge a message, by number or by the names that they claim, and what happens if they
//! cannot.

use alloc::vec::Vec;

use crate::wire::{MessageNumber, SubscriberId, SubscriberName};

/// What a publisher waits for before a message counts as acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Who must acknowledge it.
    pub acknowledgers: Acknowledgers,
    /// What acknowledges it.
    pub level: AckLevel,
    /// What happens if it can no longer be acknowledged.
    pub on_loss: QuorumLoss,
}

impl Quorum {
    /// Returns a quorum of subscribers that have received a message. The publisher blocks if it is lost.
    #[must_use]
    pub const fn new(acknowledgers: Acknowledgers) -> Self {
        Self { acknowledgers, level: AckLevel::Received, on_loss: QuorumLoss::Block }
    }
}

/// The subscribers that must acknowledge a message. Best-effort subscribers acknowledge nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledgers {
    /// This number of subscribers, at least 1. Those with the same name count once.
    Count(usize),
    /// All subscribers that were present when it was published, at least one; if none was, one that has it. One that is first
    /// heard soon after the publisher has started, and has its messages from before, counts as present. A subscriber that departs without having
    /// acknowledged it may be replaced by one with the same name.
    All,
    /// The subscribers with these names, at least one.
    Named(Vec<SubscriberName>),
}

/// What acknowledges a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckLevel {
    /// The application was given it.
    #[default]
    Received,
    /// The application has processed it, and said so.
    Processed,
}

/// What a publisher does if a message can no longer be acknowledged as required, because subscribers are absent, were
/// evicted, or have lost it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuorumLoss {
    /// It publishes nothing until that changes.
    #[default]
    Block,
    /// It reports the message as unacknowledged, and continues. After it has started, absent subscribers have the time to appear
    /// after which a silent one [counts as departed](super::PublisherConfig::subscriber_timeout).
    Report,
}

/// Whether a message was acknowledged as required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckState {
    /// It may still be.
    Pending,
    /// It was.
    Acknowledged,
    /// It was given up, with [`QuorumLoss::Report`].
    Unacknowledged,
}

/// How far the messages of a publisher are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AckProgress {
    /// The number of the next message to be published.
    pub next: MessageNumber,
    /// All messages before this one were acknowledged, or given up.
    pub settled: MessageNumber,
    /// The number of messages that were acknowledged.
    pub acknowledged: u64,
    /// The number of messages that were given up.
    pub unacknowledged: u64,
    /// Whether the first message that is not settled, or the next one, cannot be acknowledged at present.
    pub is_lost: bool,
}

impl AckProgress {
    /// Returns whether every message was acknowledged as required, or given up.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled == self.next
    }

    /// Returns whether every message was acknowledged as required.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.settled == self.next && self.unacknowledged == 0
    }
}

/// What one subscriber has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watermarks {
    /// The subscriber.
    pub subscriber: SubscriberId,
    /// The name that it claims.
    pub name: Option<SubscriberName>,
    /// Its address.
    pub address: core::net::SocketAddr,
    /// How it takes part.
    pub presence: SubscriberPresence,
    /// It has acknowledged messages from this one on.
    pub since: MessageNumber,
    /// Its application was given the messages before this one.
    pub received: MessageNumber,
    /// Its application has processed the messages before this one.
    pub processed: MessageNumber,
    /// The number of messages that were published after those that it has received.
    pub missing: u64,
    /// The number of messages that it has lost.
    pub lost: u64,
}

/// How a subscriber takes part in acknowledging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriberPresence {
    /// It is present.
    Present,
    /// It was evicted, because it was too slow.
    Evicted,
    /// It left.
    Left,
    /// It left because of an error.
    Failed,
    /// It fell silent.
    Silent,
}

impl SubscriberPresence {
    /// Returns its name, as in the command's JSON and in Python. Names never change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Evicted => "evicted",
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Silent => "silent",
        }
    }
}

/// What an acknowledgement waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AckWait {
    /// The first message that is not settled: the next one to be published, if all are.
    pub message: MessageNumber,
    /// How many of the required subscribers have acknowledged it.
    pub acknowledged: usize,
    /// How many are required.
    pub required: usize,
    /// The subscribers that may still acknowledge it.
    pub waiting: Vec<SubscriberId>,
    /// Required subscribers that cannot acknowledge it at present: they have departed, were evicted, or have lost it.
    pub lacking: Vec<SubscriberId>,
    /// Required names of which no subscriber is present that can acknowledge it.
    pub absent: Vec<SubscriberName>,
}
