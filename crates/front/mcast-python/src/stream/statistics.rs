//! Statistics of publishers and subscribers.

use mcast_stream::{publisher, subscriber};
use pyo3::prelude::*;

/// Statistics of a publisher.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublisherStatistics {
    /// Messages published.
    messages: u64,
    /// Their bytes.
    message_bytes: u64,
    /// Data datagrams, not counting repairs.
    datagrams: u64,
    /// How many of those sign others (manifests).
    manifests: u64,
    /// Datagrams retransmitted, to the group or to one subscriber.
    repairs: u64,
    /// Parity datagrams sent without a request.
    parity: u64,
    /// Repair requests (NAKs) received.
    naks: u64,
    /// Datagrams requested after they had left the retransmission buffer.
    unrecoverable: u64,
    /// Datagrams received that were not sealed with the group's keys, or were replayed.
    refused: u64,
    /// Subscribers at present.
    subscribers: u64,
    /// The present rate in bytes per second. None: it is not limited.
    rate: Option<u64>,
    /// With an automatic rate: the id of the subscriber whose path limits it.
    limited_by: Option<u64>,
    /// The queueing delay on that path, in nanoseconds.
    queueing: u64,
}

impl From<publisher::PublisherStatistics> for PublisherStatistics {
    fn from(counted: publisher::PublisherStatistics) -> Self {
        Self {
            messages: counted.messages,
            message_bytes: counted.message_bytes,
            datagrams: counted.datagrams,
            manifests: counted.manifests,
            repairs: counted.group_repairs + counted.single_repairs,
            parity: counted.parity,
            naks: counted.naks,
            unrecoverable: counted.unrecoverable,
            refused: counted.refused,
            subscribers: counted.subscribers,
            rate: counted.rate,
            limited_by: counted.limiting.map(|subscriber| subscriber.0),
            queueing: mcast_stream::Nanos::from(counted.queueing).0,
        }
    }
}

#[pymethods]
impl PublisherStatistics {
    fn __repr__(&self) -> String {
        let Self { messages, datagrams, repairs, subscribers, .. } = self;
        format!(
            "<PublisherStatistics messages={messages} datagrams={datagrams} repairs={repairs} \
             subscribers={subscribers}>"
        )
    }
}

/// Statistics of a subscriber.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriberStatistics {
    /// Messages delivered.
    messages: u64,
    /// Their bytes.
    message_bytes: u64,
    /// How many of them came from a history server.
    from_history: u64,
    /// Messages reported as lost.
    lost_messages: u64,
    /// Data datagrams received, not counting copies.
    received: u64,
    /// How many of those were repairs.
    repaired: u64,
    /// How many of those repairs other subscribers sent.
    repaired_locally: u64,
    /// How many of those received were recovered from parity.
    recovered: u64,
    /// Duplicates, from redundant paths or repairs for other subscribers.
    copies: u64,
    /// Datagrams that were missing when a later one arrived.
    missed: u64,
    /// Datagrams that are not of the protocol, or belong to another stream.
    foreign: u64,
    /// Datagrams that were not sealed with the group's keys, or were replayed.
    refused: u64,
    /// With signed_by: data datagrams that the publisher has signed.
    verified: u64,
    /// With signed_by: data datagrams that were discarded because the publisher has signed others in their place.
    forged: u64,
    /// With signed_by: datagrams that were refused because no trusted key has signed them.
    not_verified: u64,
    /// Repair requests (NAKs) sent.
    naks: u64,
    /// How many of those went to other subscribers.
    naks_to_repairers: u64,
    /// With repair_for_others: repair requests of other subscribers that were answered.
    local_naks: u64,
    /// With repair_for_others: repairs sent to other subscribers.
    local_repairs: u64,
    /// Their bytes.
    local_repair_bytes: u64,
    /// With repair_for_others: repairs that other subscribers were refused, because of a limit.
    local_refused: u64,
}

impl From<subscriber::SubscriberStatistics> for SubscriberStatistics {
    fn from(counted: subscriber::SubscriberStatistics) -> Self {
        Self {
            messages: counted.messages,
            message_bytes: counted.message_bytes,
            from_history: counted.from_history,
            lost_messages: counted.lost_messages,
            received: counted.received,
            repaired: counted.repaired,
            repaired_locally: counted.repaired_locally,
            recovered: counted.recovered,
            copies: counted.copies,
            missed: counted.missed,
            foreign: counted.foreign,
            refused: counted.refused,
            verified: counted.verified,
            forged: counted.forged,
            not_verified: counted.not_verified,
            naks: counted.naks,
            naks_to_repairers: counted.naks_to_repairers,
            local_naks: counted.local_naks,
            local_repairs: counted.local_repairs,
            local_repair_bytes: counted.local_repair_bytes,
            local_refused: counted.local_refused,
        }
    }
}

#[pymethods]
impl SubscriberStatistics {
    fn __repr__(&self) -> String {
        let Self { messages, lost_messages, received, repaired, .. } = self;
        format!(
            "<SubscriberStatistics messages={messages} lost_messages={lost_messages} received={received} \
             repaired={repaired}>"
        )
    }
}
