//! What was published and received so far.

use mcast_stream::receiver::ReceiverStatistics;
use mcast_stream::sender::SenderStatistics;
use pyo3::prelude::*;

/// What a publisher has sent so far.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublisherStatistics {
    /// Messages.
    messages: u64,
    /// Their bytes.
    message_bytes: u64,
    /// Datagrams of data, repairs not counted.
    datagrams: u64,
    /// Datagrams that were sent again, to the group or to one receiver.
    repairs: u64,
    /// Requests for repairs that came.
    naks: u64,
    /// Datagrams that were asked for when they were gone.
    unrecoverable: u64,
    /// What came and was not sealed by the group, or was a copy.
    refused: u64,
    /// Receivers that are known.
    receivers: u64,
}

impl From<SenderStatistics> for PublisherStatistics {
    fn from(counted: SenderStatistics) -> Self {
        Self {
            messages: counted.messages,
            message_bytes: counted.message_bytes,
            datagrams: counted.datagrams,
            repairs: counted.group_repairs + counted.single_repairs,
            naks: counted.naks,
            unrecoverable: counted.unrecoverable,
            refused: counted.refused,
            receivers: counted.receivers,
        }
    }
}

#[pymethods]
impl PublisherStatistics {
    fn __repr__(&self) -> String {
        let Self { messages, datagrams, repairs, receivers, .. } = self;
        format!(
            "<PublisherStatistics messages={messages} datagrams={datagrams} repairs={repairs} \
             receivers={receivers}>"
        )
    }
}

/// What a subscriber has received so far.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriberStatistics {
    /// Messages that were handed out.
    messages: u64,
    /// Their bytes.
    message_bytes: u64,
    /// Messages that were told to be lost.
    lost_messages: u64,
    /// Datagrams of data that came, copies not counted.
    received: u64,
    /// Of those, repairs.
    repaired: u64,
    /// Copies, of several paths or of repairs for others.
    copies: u64,
    /// Datagrams that were missing when something behind them came.
    missed: u64,
    /// What is no datagram of the protocol, or of another stream.
    foreign: u64,
    /// What the group did not seal, or a copy of something other than data.
    refused: u64,
    /// Requests for repairs that were sent.
    naks: u64,
}

impl From<ReceiverStatistics> for SubscriberStatistics {
    fn from(counted: ReceiverStatistics) -> Self {
        Self {
            messages: counted.messages,
            message_bytes: counted.message_bytes,
            lost_messages: counted.lost_messages,
            received: counted.received,
            repaired: counted.repaired,
            copies: counted.copies,
            missed: counted.missed,
            foreign: counted.foreign,
            refused: counted.refused,
            naks: counted.naks,
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
