//! Events and statistics of a publisher.

use core::time::Duration;

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use crate::wire::{MessageNumber, Sequence, SubscriberId, SubscriberName};

/// Events kept until the caller fetches them; older ones are dropped.
const MAX_EVENTS: usize = 1024;

/// Events that were not fetched yet, and how many were dropped before them.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    waiting: VecDeque<PublisherEvent>,
    missed: u64,
    /// All that were ever added.
    pub(super) pushed: u64,
}

impl EventQueue {
    pub(super) fn push(&mut self, event: PublisherEvent) {
        self.pushed += 1;
        if self.waiting.len() == MAX_EVENTS {
            self.waiting.pop_front();
            self.missed += 1;
        }
        self.waiting.push_back(event);
    }

    /// The last `count` of those that wait, the oldest first.
    pub(super) fn latest(&self, count: u64) -> impl Iterator<Item = &PublisherEvent> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.waiting.range(self.waiting.len().saturating_sub(count)..)
    }

    pub(super) fn pop(&mut self) -> Option<PublisherEvent> {
        if self.missed > 0 {
            return Some(PublisherEvent::Missed(core::mem::take(&mut self.missed)));
        }
        self.waiting.pop_front()
    }
}

/// An event of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublisherEvent {
    /// The first status of a subscriber arrived.
    SubscriberJoined(SubscriberId, SocketAddr),
    /// A subscriber announced that it leaves.
    SubscriberLeft(SubscriberId),
    /// Nothing was received from a subscriber for [`subscriber_timeout`](super::PublisherConfig::subscriber_timeout).
    SubscriberSilent(SubscriberId),
    /// A subscriber was too slow: the publisher no longer waits for it. The number is how many datagrams it was behind.
    SubscriberEvicted(SubscriberId, u64),
    /// An evicted subscriber has caught up, and the publisher waits for it again.
    SubscriberReturned(SubscriberId),
    /// A subscriber at this address was refused because [`most_subscribers`](super::PublisherConfig::most_subscribers) are
    /// known.
    SubscriberRefused(SubscriberId, SocketAddr),
    /// A subscriber lost datagrams because the publisher was faster than its link: it slows down. Other subscribers behind
    /// the same link are not reported.
    Slowed {
        /// The subscriber.
        subscriber: SubscriberId,
        /// The loss in parts per million.
        loss: u32,
        /// The new rate in bytes per second.
        rate: u64,
    },
    /// The path to this subscriber limits the automatic rate, instead of that to another one.
    Limited {
        /// The subscriber.
        subscriber: SubscriberId,
        /// The rate in bytes per second.
        rate: u64,
    },
    /// A subscriber has left because it follows another publisher of the same stream, which is heard at the same time: it was
    /// started later, or this one was silent. Subscribers that do the same are not reported until another one joins.
    Superseded(SubscriberId),
    /// A subscriber has left because of an error.
    SubscriberFailed(SubscriberId),
    /// The publisher is back at its configured rate.
    Recovered,
    /// A subscriber that reads no history requested datagrams that have left the retransmission buffer: from the first to before the
    /// second.
    Unrecoverable(SubscriberId, Sequence, Sequence),
    /// A subscriber that requests repairs has given up datagrams, or lost messages, for the first time.
    /// [`PublisherMachine::subscriber_progress`](super::PublisherMachine::subscriber_progress) reports what it lacks at the end.
    SubscriberIncomplete {
        /// The subscriber.
        subscriber: SubscriberId,
        /// Datagrams that it has given up.
        datagrams: u64,
        /// Messages that it has reported as lost to its application.
        messages: u64,
    },
    /// Two present subscribers at different addresses use the same name, so that they count as one to acknowledgements. A
    /// subscriber is reported at most once as the first.
    NameShared {
        /// The name.
        name: SubscriberName,
        /// The subscriber that was first to use it.
        first: SubscriberId,
        /// The other one.
        second: SubscriberId,
    },
    /// The first message that is not settled, or the next one, cannot be acknowledged as required: subscribers are absent,
    /// were evicted, or have lost it. [`PublisherMachine::ack_wait`](super::PublisherMachine::ack_wait) returns which.
    QuorumLost,
    /// All messages that are not settled, and the next one, may be acknowledged as required again.
    QuorumPresent,
    /// Messages were given up, because they cannot be acknowledged as required.
    Unacknowledged {
        /// The first of them.
        first: MessageNumber,
        /// The first after them.
        end: MessageNumber,
    },
    /// The publisher found itself in a state that cannot happen, which is a bug: please report this text. It is reported for
    /// the first time, the second, the fourth, and so on.
    InternalError(&'static str),
    /// Events were not fetched in time; the number is how many were dropped before this one.
    Missed(u64),
}

impl PublisherEvent {
    /// Returns its name, for instance `quorum-lost`, as in Python. Names never change.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SubscriberJoined(..) => "joined",
            Self::SubscriberLeft(_) => "left",
            Self::SubscriberSilent(_) => "silent",
            Self::SubscriberEvicted(..) => "evicted",
            Self::SubscriberReturned(_) => "returned",
            Self::SubscriberRefused(..) => "refused",
            Self::Slowed { .. } => "slowed",
            Self::Limited { .. } => "limited",
            Self::Superseded(_) => "superseded",
            Self::SubscriberFailed(_) => "failed",
            Self::Recovered => "recovered",
            Self::Unrecoverable(..) => "unrecoverable",
            Self::SubscriberIncomplete { .. } => "incomplete",
            Self::NameShared { .. } => "name-shared",
            Self::QuorumLost => "quorum-lost",
            Self::QuorumPresent => "quorum-present",
            Self::Unacknowledged { .. } => "unacknowledged",
            Self::InternalError(_) => "internal-error",
            Self::Missed(_) => "missed",
        }
    }
}

/// The reason why a message is not accepted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The publisher waits for a subscriber that has no room, or that lacks data that the message would overwrite.
    #[error("waiting for subscriber {subscriber}, which has everything before datagram {next}")]
    WaitingFor {
        /// The subscriber.
        subscriber: SubscriberId,
        /// The first datagram that it has not confirmed.
        next: Sequence,
    },
    /// Earlier messages are not sent yet: the rate, or the system, admits no more.
    #[error("waiting until what was published before is sent")]
    Unsent,
    /// The subscribers that must acknowledge messages are not all present, or have not acknowledged those before messages
    /// that must be omitted.
    #[error("waiting for subscribers that must acknowledge messages")]
    NoQuorum,
    /// A long message is being written.
    #[error("a long message is being written: end it first")]
    Writing,
    /// The message is too long.
    #[error("a message of {length} bytes is too long: the limit is {longest}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The greatest length in bytes.
        longest: usize,
    },
    /// Too many messages were to be omitted at once.
    #[error("more than {} messages cannot be omitted in one incarnation", super::PublisherMachine::MAX_SKIP)]
    TooFar,
    /// The stream was closed.
    #[error("the stream is closed")]
    Closed,
    /// A thread panicked within the publisher: it does not continue with a state that may be half changed.
    #[error("the publisher has failed internally: nothing more can be sent")]
    Internal,
    /// The cipher failed: nothing more can be sealed, and nothing is sent unsealed.
    #[error("the cipher failed: nothing more can be sent")]
    CannotSeal,
}

impl Refusal {
    /// Returns whether a later attempt may succeed.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::WaitingFor { .. } | Self::Unsent | Self::NoQuorum)
    }
}

mcast_metrics::figures! {
    /// Counters of a publisher.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct PublisherStatistics {
        /// Messages published.
        count messages: u64,
        /// Bytes of the messages published.
        count message_bytes: u64,
        /// Data datagrams sent, not counting repairs.
        count datagrams: u64,
        /// Bytes of the data datagrams sent, not counting repairs.
        count datagram_bytes: u64,
        /// Data datagrams sent that sign others.
        count manifests: u64,
        /// Repairs sent to the group.
        count group_repairs: u64,
        /// Repairs sent to a single subscriber.
        count single_repairs: u64,
        /// Repairs sent to the group that are parity datagrams.
        count parity_repairs: u64,
        /// Bytes of all repairs.
        count repair_bytes: u64,
        /// Parity datagrams sent without a request.
        count parity: u64,
        /// Bytes of the parity datagrams sent without a request.
        count parity_bytes: u64,
        /// NAKs received.
        count naks: u64,
        /// NAKs not answered: beyond the limit of a subscriber, or of an unknown one.
        count naks_refused: u64,
        /// Datagrams requested after they had left the retransmission buffer.
        count unrecoverable: u64,
        /// Statuses received.
        count statuses: u64,
        /// Heartbeats sent.
        count heartbeats: u64,
        /// Datagrams received that do not belong to this stream, or are malformed.
        count foreign: u64,
        /// Datagrams refused: not sealed by the group, replayed, or of a subscriber beyond the limit.
        count refused: u64,
        /// NAKs and statuses from unproven addresses, which are answered with an echo.
        count unproven: u64,
        /// Echoes to unproven addresses that were not sent because of their limit.
        count echoes_refused: u64,
        /// Datagrams to single addresses that a socket did not accept, mostly because its send buffer was full. They count as
        /// lost on the network.
        count not_sent: u64,
        /// How often the publisher found itself in a state that cannot happen.
        count internal_errors: u64,
        /// The group round-trip time.
        time round_trip: Duration,
        /// Subscribers known now.
        level subscribers: u64,
        other {
            /// The present rate in bytes per second; `None` if it is not limited.
            pub rate: Option<u64>,
            /// The subscriber whose path limits an automatic rate, and the queueing delay on that path.
            pub limiting: Option<SubscriberId>,
            /// See [`limiting`](Self::limiting).
            pub queueing: Duration,
        }
    }
}
