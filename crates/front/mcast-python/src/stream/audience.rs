//! What a publisher reports about its subscribers, and which of them must acknowledge messages.

use mcast_stream::publisher::{
    AckLevel, Acknowledgers, PublisherEvent as Event, Quorum, QuorumLoss, Watermarks,
};
use mcast_stream::wire::SubscriberName;
use pyo3::prelude::*;

use super::statistics::PublisherStatistics;
use crate::error::value_error;

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

/// The subscribers that must acknowledge messages, as Python names them: a number, "all", a name, or several names.
#[derive(FromPyObject)]
pub(super) enum AckBy {
    Count(usize),
    Name(String),
    Names(Vec<String>),
}

impl AckBy {
    /// Returns the quorum.
    pub(super) fn quorum(self, when: &str, lost: &str) -> PyResult<Quorum> {
        let acknowledgers = match self {
            Self::Count(0) => return Err(value_error("ack must be at least 1")),
            Self::Count(count) => Acknowledgers::Count(count),
            Self::Name(name) if name == "all" => Acknowledgers::All,
            Self::Name(name) => Acknowledgers::Named(vec![subscriber_name(&name)?]),
            Self::Names(names) => {
                Acknowledgers::Named(names.iter().map(|name| subscriber_name(name)).collect::<PyResult<_>>()?)
            }
        };
        let level = match when {
            "received" => AckLevel::Received,
            "processed" => AckLevel::Processed,
            _ => {
                return Err(value_error(format_args!(
                    "{when:?} is not a value of ack_when: use received or processed"
                )));
            }
        };
        let on_loss = match lost {
            "block" => QuorumLoss::Block,
            "report" => QuorumLoss::Report,
            _ => {
                return Err(value_error(format_args!(
                    "{lost:?} is not a value of ack_lost: use block or report"
                )));
            }
        };
        Ok(Quorum { acknowledgers, level, on_loss })
    }
}

pub(super) fn subscriber_name(name: &str) -> PyResult<SubscriberName> {
    name.parse().map_err(|error| value_error(format_args!("{name:?}: {error}")))
}

/// What a subscriber has acknowledged.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// The id of the subscriber.
    subscriber: u64,
    /// The name that it claims, if any: only the group's keys restrict who can claim it.
    name: Option<String>,
    /// Its address, as "ADDRESS:PORT".
    address: String,
    /// "present", "evicted" (too slow), "left", "failed" (left because of an error) or "silent".
    presence: &'static str,
    /// The number of the first message that it acknowledges: the first after its last loss.
    since: u64,
    /// The number of the first message after those that its application was given.
    received: u64,
    /// The number of the first message after those that its application has processed.
    processed: u64,
    /// The number of messages that were published after those that it has received.
    missing: u64,
    /// The number of messages that it has lost.
    lost: u64,
}

impl From<&Watermarks> for Watermark {
    fn from(known: &Watermarks) -> Self {
        Self {
            subscriber: known.subscriber.0,
            name: known.name.map(|name| name.to_string()),
            address: known.address.to_string(),
            presence: known.presence.name(),
            since: known.since.0,
            received: known.received.0,
            processed: known.processed.0,
            missing: known.missing,
            lost: known.lost,
        }
    }
}

#[pymethods]
impl Watermark {
    fn __repr__(&self) -> String {
        let Self { name, address, presence, since, received, processed, missing, .. } = self;
        let name = name.as_deref().unwrap_or(address);
        format!(
            "<Watermark of {name}, {presence}: since={since} received={received} processed={processed} missing={missing}>"
        )
    }
}
