//! Events and statistics of a publisher.

use alloc::collections::VecDeque;
#[cfg(feature = "reports")]
use alloc::{
    format,
    string::{String, ToString},
};
use core::net::SocketAddr;
use core::time::Duration;

#[cfg(feature = "reports")]
use mcast_metrics::count_of;

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

#[cfg(feature = "reports")]
mcast_metrics::event_reports! {
    pub impl PublisherEvent for known: &dyn KnownSubscribers {
        /// A subscriber has joined.
        &Self::SubscriberJoined(id, address) =>
            is Note "joined" { subscriber: id.0, address: address }:
            format!("subscriber {} joined", known.shown(id, Some(address))),
        /// A subscriber has left.
        &Self::SubscriberLeft(id) => is Note "left" { subscriber: id.0 }:
            format!("subscriber {} left", known.shown(id, None)),
        /// Nothing was received from a subscriber for too long.
        &Self::SubscriberSilent(id) => is Problem "silent" { subscriber: id.0 }:
            format!("subscriber {} has gone silent", known.shown(id, None)),
        /// A subscriber was too slow; it was this number of datagrams behind.
        &Self::SubscriberEvicted(id, behind) => is Problem "evicted" { subscriber: id.0, count: behind }: match behind {
            0 => format!(
                "evicted subscriber {}: its application does not read what it has received (--evict-after allows more time)",
                known.shown(id, None)
            ),
            _ => format!(
                "evicted subscriber {}: {} behind without progress: too slow, or the group no longer arrives there \
                 (--evict-after allows more time)",
                known.shown(id, None),
                count_of(behind, "datagram")
            ),
        },
        /// An evicted subscriber has caught up.
        &Self::SubscriberReturned(id) => is Note "returned" { subscriber: id.0 }:
            format!("subscriber {} has caught up", known.shown(id, None)),
        /// There are too many subscribers.
        &Self::SubscriberRefused(id, address) => is Problem "refused" { subscriber: id.0, address: address }: format!(
            "subscriber {id} at {address} exceeds the limit of subscribers: it is not waited for, and gets no repairs"
        ),
        /// A subscriber lost datagrams, so the rate was lowered to this number of bytes per second.
        &Self::Slowed { subscriber: id, loss, rate } => is Problem "slowed" { subscriber: id.0, count: rate }: format!(
            "slowed down to {:.1} Mbit/s: subscriber {} loses {:.1} % (--flow slowest:keep-rate keeps the rate)",
            rate as f64 * 8.0 / 1e6,
            known.shown(id, None),
            f64::from(loss) / 1e4
        ),
        /// The path to this subscriber limits the automatic rate, to this number of bytes per second at present.
        &Self::Limited { subscriber: id, rate } => is Note "limited" { subscriber: id.0, count: rate }:
            format!("subscriber {} limits the rate: {:.1} Mbit/s", known.shown(id, None), rate as f64 * 8e-6),
        /// A subscriber follows another publisher of the stream. Reported once.
        &Self::Superseded(id) => is Problem "superseded" { subscriber: id.0 }: format!(
            "superseded: another publisher of this stream was started later, and subscriber {} follows it: what this one still \
             publishes does not reach it; stop one of the two, or publish under another --name",
            known.shown(id, None)
        ),
        /// A subscriber has left because of an error.
        &Self::SubscriberFailed(id) => is Problem "failed" { subscriber: id.0 }:
            format!("subscriber {} left because of an error", known.shown(id, None)),
        /// The rate is as configured again.
        Self::Recovered => is Note "recovered" {}: "as fast as before again",
        /// A subscriber missed this number of datagrams, which have left the retransmission buffer.
        &Self::Unrecoverable(id, first, end) =>
            is Problem "unrecoverable" { subscriber: id.0, count: end.ahead_of(first) }: format!(
                "subscriber {} missed {}, no longer in the retransmission buffer ({} enlarges it)",
                known.shown(id, None),
                count_of(count, "datagram"),
                known.buffer_option()
            ),
        /// A subscriber has given up this number of datagrams, or lost this number of messages.
        &Self::SubscriberIncomplete { subscriber: id, datagrams, messages } =>
            is Problem "incomplete" { subscriber: id.0, count: datagrams.max(messages) }: format!(
                "subscriber {} {} so far: it will not have everything",
                known.shown(id, None),
                lacking(datagrams, messages)
            ),
        /// Another present subscriber uses the same name: acknowledgements count both as one.
        &Self::NameShared { name, first, second } => is Problem "name-shared" { subscriber: first.0 }: format!(
            "subscribers {} and {} use the name {name} at the same time: --ack counts them as one; give each its own with \
             subscribe --as",
            known.located(first),
            known.located(second)
        ),
        /// Messages cannot be acknowledged as required.
        Self::QuorumLost => is Problem "quorum-lost" {}: "messages cannot be acknowledged as --ack requires",
        /// Messages can be acknowledged as required again.
        Self::QuorumPresent => is Note "quorum-present" {}: "messages may be acknowledged as --ack requires again",
        /// This number of messages was given up.
        &Self::Unacknowledged { first, end } =>
            is Problem "unacknowledged" { count: end.ahead_of(first) }: match count {
                1 => format!("message {first} cannot be acknowledged as --ack requires"),
                _ => format!("messages {first} to {} cannot be acknowledged as --ack requires", end.0.saturating_sub(1)),
            },
        /// A bug: please report it.
        Self::InternalError(what) => is Problem "internal-error" {}:
            format!("a bug in this program: {what}; please report it"),
        /// This number of events was discarded, because they were not fetched.
        &Self::Missed(events) => is Detail "missed" { count: events }:
            format!("{} were not reported", count_of(events, "event")),
    }
}

/// What is known of subscribers, to name them in the reports of a publisher.
#[cfg(feature = "reports")]
pub trait KnownSubscribers {
    /// Returns the address of a subscriber.
    fn address_of(&self, _subscriber: SubscriberId) -> Option<SocketAddr> {
        None
    }

    /// Returns the name of a subscriber.
    fn name_of(&self, _subscriber: SubscriberId) -> Option<SubscriberName> {
        None
    }

    /// Returns the option that enlarges the retransmission buffer.
    fn buffer_option(&self) -> &'static str {
        "--history"
    }

    /// Returns a subscriber in words, at this address unless another one is known: name and address, or its id.
    fn shown(&self, subscriber: SubscriberId, address: Option<SocketAddr>) -> String {
        let address = self.address_of(subscriber).or(address).map(|address| address.ip());
        match (self.name_of(subscriber), address) {
            (Some(name), Some(address)) => format!("{name} ({address})"),
            (Some(name), None) => name.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => subscriber.to_string(),
        }
    }

    /// Returns the address and port of a subscriber, or its id.
    fn located(&self, subscriber: SubscriberId) -> String {
        self.address_of(subscriber).map_or_else(|| subscriber.to_string(), |address| address.to_string())
    }
}

/// Nothing is known of them.
#[cfg(feature = "reports")]
impl KnownSubscribers for () {}

/// Describes what a subscriber will never have: of one that reads a history, only messages are counted.
#[cfg(feature = "reports")]
#[must_use]
pub fn lacking(datagrams: u64, messages: u64) -> String {
    let lost = || format!("lost {}", count_of(messages, "message"));
    match (datagrams, messages) {
        (0, 0) => "lost an unknown number of messages".into(),
        (_, 0) => format!("lacks {}", count_of(datagrams, "datagram")),
        (0, _) => lost(),
        (_, _) => format!("lacks {}: {}", count_of(datagrams, "datagram"), lost()),
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

#[cfg(feature = "reports")]
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    struct Ada;

    impl KnownSubscribers for Ada {
        fn name_of(&self, subscriber: SubscriberId) -> Option<SubscriberName> {
            (subscriber == SubscriberId(7)).then(|| "ada".parse().unwrap())
        }
    }

    #[test]
    fn a_subscriber_is_named_by_what_is_known_of_it() {
        let joined = |id| PublisherEvent::SubscriberJoined(SubscriberId(id), ([10, 0, 0, 1], 5).into());
        assert_eq!(joined(7).report(&Ada).text, "subscriber ada (10.0.0.1) joined");
        assert_eq!(joined(8).report(&Ada).text, "subscriber 10.0.0.1 joined");
        let left = PublisherEvent::SubscriberLeft(SubscriberId(8)).report(&());
        assert_eq!(left.text, format!("subscriber {} left", SubscriberId(8)));
        assert_eq!(left.number_of("subscriber"), Some(8));
    }

    #[test]
    fn messages_that_are_given_up_are_named_by_their_numbers() {
        let given_up = |end| {
            let event = PublisherEvent::Unacknowledged { first: MessageNumber(3), end: MessageNumber(end) };
            event.report(&()).text
        };
        assert_eq!(given_up(4), "message 3 cannot be acknowledged as --ack requires");
        assert_eq!(given_up(6), "messages 3 to 5 cannot be acknowledged as --ack requires");
    }
}
