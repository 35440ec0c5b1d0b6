//! What a publisher reports about its subscribers, and which of them must acknowledge messages; statistics.

use mcast_stream::publisher::{
    self, AckLevel, Acknowledgers, PublisherEvent as Event, Quorum, QuorumLoss, Watermarks,
};
use mcast_stream::subscriber;
use mcast_stream::wire::SubscriberName;
use pyo3::prelude::*;

use crate::error::value_error;
use crate::statistics::{AttributeValue, Attributes, statistics_class};

/// An event of a publisher; str() describes it.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublisherEvent {
    // `document_kinds` documents it.
    kind: &'static str,
    /// The subscriber that it is about.
    subscriber: Option<u64>,
    /// Of "joined" and "refused": the address of the subscriber, as "ADDRESS:PORT".
    address: Option<String>,
    /// The number that `kind` describes.
    count: Option<u64>,
}

impl From<Event> for PublisherEvent {
    fn from(event: Event) -> Self {
        let report = event.report(&());
        Self {
            kind: report.name,
            subscriber: report.number_of("subscriber"),
            address: report.text_of("address"),
            count: report.number_of("count"),
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

statistics_class! {
    /// Statistics of a publisher.
    PublisherStatistics of publisher::PublisherStatistics, shows "messages" "datagrams" "repairs" "subscribers"
}

impl From<publisher::PublisherStatistics> for PublisherStatistics {
    fn from(counted: publisher::PublisherStatistics) -> Self {
        let repairs = AttributeValue::Number(counted.group_repairs + counted.single_repairs);
        let rate = AttributeValue::Known(counted.rate);
        let limited_by = AttributeValue::Known(counted.limiting.map(|subscriber| subscriber.0));
        let queueing = u64::try_from(counted.queueing.as_nanos()).unwrap_or(u64::MAX);
        let attributes = Attributes::of(counted.figures())
            .with("repairs", repairs, "Datagrams retransmitted, to the group or to one subscriber.")
            .with("rate", rate, "The present rate in bytes per second. None: it is not limited.")
            .with(
                "limited_by",
                limited_by,
                "With an automatic rate: the id of the subscriber whose path limits it.",
            )
            .with(
                "queueing",
                AttributeValue::Number(queueing),
                "The queueing delay on that path, in nanoseconds.",
            );
        Self(attributes)
    }
}

statistics_class! {
    /// Statistics of a subscriber.
    SubscriberStatistics of subscriber::SubscriberStatistics,
    shows "messages" "lost_messages" "received" "repaired"
}

impl From<subscriber::SubscriberStatistics> for SubscriberStatistics {
    fn from(counted: subscriber::SubscriberStatistics) -> Self {
        Self(Attributes::of(counted.figures()))
    }
}
