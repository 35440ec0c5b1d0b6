//! What a publisher reports about its subscribers, while it runs and when it closes.

use mcast_stream::publisher::PublisherEvent as Event;
use pyo3::prelude::*;

use super::statistics::PublisherStatistics;

/// An event of a publisher; str() describes it.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublisherEvent {
    /// "joined", "left", "failed" (left because of an error), "silent" (no status for too long), "evicted" (too slow; it was `count` datagrams behind),
    /// "returned" (caught up), "refused" (too many subscribers), "unrecoverable" (missed `count` datagrams that have
    /// left the retransmission buffer), "slowed" (it lost datagrams, so the rate was lowered to `count` bytes per second),
    /// "limited" (its path limits the automatic rate, to `count` bytes per second at present),
    /// "quorum-lost" (messages cannot be acknowledged as required), "quorum-present" (they can again), "unacknowledged"
    /// (`count` messages were given up), "name-shared" (another present subscriber uses the same name: acknowledgements count both
    /// as one), "recovered" (the rate is as configured again), "incomplete" (has given up `count` datagrams, or lost as many messages), "missed" (`count`
    /// events were discarded because they were not fetched), or "other".
    kind: &'static str,
    /// The subscriber that it is about.
    subscriber: Option<u64>,
    /// Of "joined": the address of the subscriber, as "ADDRESS:PORT".
    address: Option<String>,
    /// The number that `kind` describes.
    count: Option<u64>,
}

impl From<Event> for PublisherEvent {
    fn from(event: Event) -> Self {
        let about = |kind, subscriber: mcast_stream::wire::SubscriberId| Self {
            kind,
            subscriber: Some(subscriber.0),
            address: None,
            count: None,
        };
        match event {
            Event::SubscriberJoined(subscriber, address) => {
                Self { address: Some(address.to_string()), ..about("joined", subscriber) }
            }
            Event::SubscriberLeft(subscriber) => about("left", subscriber),
            Event::SubscriberSilent(subscriber) => about("silent", subscriber),
            Event::SubscriberEvicted(subscriber, behind) => {
                Self { count: Some(behind), ..about("evicted", subscriber) }
            }
            Event::SubscriberReturned(subscriber) => about("returned", subscriber),
            Event::SubscriberRefused(subscriber) => about("refused", subscriber),
            Event::Unrecoverable(subscriber, first, end) => {
                Self { count: Some(end.ahead_of(first)), ..about("unrecoverable", subscriber) }
            }
            Event::SubscriberFailed(subscriber) => about("failed", subscriber),
            Event::SubscriberIncomplete { subscriber, datagrams, messages } => {
                Self { count: Some(datagrams.max(messages)), ..about("incomplete", subscriber) }
            }
            Event::Slowed { subscriber, rate, .. } => {
                Self { count: Some(rate), ..about("slowed", subscriber) }
            }
            Event::Limited { subscriber, rate } => Self { count: Some(rate), ..about("limited", subscriber) },
            Event::Recovered => Self { kind: "recovered", subscriber: None, address: None, count: None },
            Event::NameShared { first, .. } => about("name-shared", first),
            Event::QuorumLost => Self { kind: "quorum-lost", subscriber: None, address: None, count: None },
            Event::QuorumPresent => {
                Self { kind: "quorum-present", subscriber: None, address: None, count: None }
            }
            Event::Unacknowledged { first, end } => Self {
                kind: "unacknowledged",
                subscriber: None,
                address: None,
                count: Some(end.ahead_of(first)),
            },
            Event::Missed(events) => {
                Self { kind: "missed", subscriber: None, address: None, count: Some(events) }
            }
            _ => Self { kind: "other", subscriber: None, address: None, count: None },
        }
    }
}

#[pymethods]
impl PublisherEvent {
    fn __str__(&self) -> String {
        let details = [
            self.subscriber.map(|number| format!("subscriber {number:016x}")),
            self.address.clone(),
            self.count.map(|number| number.to_string()),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        format!("{}: {}", self.kind, details.join(", "))
    }

    fn __repr__(&self) -> String {
        format!("<PublisherEvent {}>", self.__str__())
    }
}

/// The result of closing a publisher.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// Subscribers that have received and read everything.
    complete: usize,
    /// Subscribers whose application is still reading what they have received, or a history.
    unread: u64,
    /// Connected subscribers that have not confirmed everything, each with the number of datagrams it is missing.
    behind: Vec<(u64, u64)>,
    /// Subscribers with unrecoverable losses, including those that have left.
    incomplete: u64,
    /// Subscribers that left before the end.
    left: u64,
    /// Subscribers that left because of an error.
    failed: u64,
    /// Subscribers that became silent before they confirmed everything; what they received is unknown.
    unknown: u64,
    /// Datagrams that were queued but not sent before the timeout.
    unsent: u64,
    /// Whether every message was acknowledged as `ack` requires; None if it was not given.
    acknowledged: Option<bool>,
    /// The final statistics.
    statistics: PublisherStatistics,
}

impl From<mcast_stream::Closing> for Closing {
    fn from(closing: mcast_stream::Closing) -> Self {
        Self {
            complete: closing.complete,
            unread: closing.audience.unread,
            behind: closing.behind.iter().map(|(subscriber, missing)| (subscriber.0, *missing)).collect(),
            incomplete: closing.audience.incomplete,
            left: closing.audience.left,
            failed: closing.audience.failed,
            unknown: closing.audience.unknown,
            unsent: closing.unsent,
            acknowledged: closing.acknowledged.map(|progress| progress.is_complete()),
            statistics: closing.statistics.into(),
        }
    }
}

impl Closing {
    /// Describes what the end of the publisher left undone, if anything.
    pub(super) fn loss(&self) -> Option<String> {
        let unsent = match self.unsent {
            0 => None,
            unsent => Some(format!("{unsent} datagrams of accepted messages were never sent")),
        };
        let behind = match self.behind.len() as u64 + self.unknown {
            0 => None,
            1 => Some("1 subscriber may not have everything".to_owned()),
            behind => Some(format!("{behind} subscribers may not have everything")),
        };
        let parts: Vec<String> = unsent.into_iter().chain(behind).collect();
        (!parts.is_empty())
            .then(|| format!("{}; call close() with a longer timeout before the end", parts.join(", and ")))
    }
}

#[pymethods]
impl Closing {
    fn __repr__(&self) -> String {
        let Self { complete, unread, behind, incomplete, unknown, unsent, .. } = self;
        let behind = behind.len();
        format!(
            "<Closing complete={complete} unread={unread} behind={behind} incomplete={incomplete} unknown={unknown} unsent={unsent}>"
        )
    }
}
