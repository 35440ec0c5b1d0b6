//! What a publisher tells: who listens, and how it ended.

use mcast_stream::sender::SenderEvent;
use pyo3::prelude::*;

use super::statistics::PublisherStatistics;

/// What happened to a publisher; str() says it in words.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublisherEvent {
    /// "joined", "left", "silent" (said nothing for too long), "evicted" (kept everybody waiting; it was
    /// `count` datagrams behind), "returned" (caught up), "refused" (one too many), "unrecoverable" (lacks
    /// `count` datagrams that are no longer kept), "slowed" (receivers lose so much that the rate is
    /// lowered to `count` bytes a second), "recovered" (it is as configured again), "short" (has given up
    /// `count` datagrams), "missed" (`count` events were not fetched in time), or "other".
    kind: &'static str,
    /// The receiver that it is about.
    receiver: Option<u64>,
    /// Of "joined": where the receiver is, as "ADDRESS:PORT".
    address: Option<String>,
    /// How many.
    count: Option<u64>,
}

impl From<SenderEvent> for PublisherEvent {
    fn from(event: SenderEvent) -> Self {
        let about = |kind, receiver: mcast_stream::wire::ReceiverId| Self {
            kind,
            receiver: Some(receiver.0),
            address: None,
            count: None,
        };
        let counted = |kind, count| Self { kind, receiver: None, address: None, count: Some(count) };
        match event {
            SenderEvent::ReceiverJoined(receiver, address) => {
                Self { address: Some(address.to_string()), ..about("joined", receiver) }
            }
            SenderEvent::ReceiverLeft(receiver) => about("left", receiver),
            SenderEvent::ReceiverSilent(receiver) => about("silent", receiver),
            SenderEvent::ReceiverEvicted(receiver, behind) => {
                Self { count: Some(behind), ..about("evicted", receiver) }
            }
            SenderEvent::ReceiverReturned(receiver) => about("returned", receiver),
            SenderEvent::ReceiverRefused(receiver) => about("refused", receiver),
            SenderEvent::Unrecoverable(receiver, first, end) => {
                Self { count: Some(end.saturating_sub(first)), ..about("unrecoverable", receiver) }
            }
            SenderEvent::ReceiverShort(receiver, count) => {
                Self { count: Some(count), ..about("short", receiver) }
            }
            SenderEvent::Slowed { rate, .. } => counted("slowed", rate),
            SenderEvent::Recovered => Self { kind: "recovered", receiver: None, address: None, count: None },
            SenderEvent::Missed(events) => counted("missed", events),
            _ => Self { kind: "other", receiver: None, address: None, count: None },
        }
    }
}

#[pymethods]
impl PublisherEvent {
    fn __str__(&self) -> String {
        let details = [
            self.receiver.map(|number| format!("receiver {number:016x}")),
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

/// How a publisher ended.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// Subscribers that have read everything.
    complete: usize,
    /// Subscribers that have received everything and have not read all of it.
    unread: u64,
    /// Those that are connected and have not confirmed everything, each with the number of datagrams it misses.
    behind: Vec<(u64, u64)>,
    /// Subscribers that lost something for good. One that left afterwards is counted, too.
    short: u64,
    /// Subscribers that fell silent before they confirmed everything. What they have is unknown.
    unknown: u64,
    /// Datagrams that were accepted and never sent: the rate, a subscriber or the system did not allow it in time.
    unsent: u64,
    /// What was sent in all.
    statistics: PublisherStatistics,
}

impl From<mcast_stream::Closing> for Closing {
    fn from(closing: mcast_stream::Closing) -> Self {
        Self {
            complete: closing.complete,
            unread: closing.audience.unread,
            behind: closing.behind.iter().map(|(receiver, missing)| (receiver.0, *missing)).collect(),
            short: closing.audience.short,
            unknown: closing.audience.unknown,
            unsent: closing.unsent,
            statistics: closing.statistics.into(),
        }
    }
}

#[pymethods]
impl Closing {
    fn __repr__(&self) -> String {
        let Self { complete, unread, behind, short, unknown, unsent, .. } = self;
        let behind = behind.len();
        format!(
            "<Closing complete={complete} unread={unread} behind={behind} short={short} unknown={unknown} unsent={unsent}>"
        )
    }
}
