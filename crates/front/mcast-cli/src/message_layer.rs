//! What several subcommands print about messages and their publishers.

use std::time::SystemTime;

use mcast_stream::publisher::PublisherStatistics;
use mcast_stream::wire::{Incarnation, MessageKey, MessageNumber, StreamId};
use mcast_stream::{HistoryListener, HistoryServerStatistics, RefusedRequest, StreamError};

use crate::arguments::ServedHistoryAt;
use crate::output::{Payload, SafeText, bytes, count_of, record, rfc3339};

record! {
    pub(crate) fn new(
        (stream, incarnation): (StreamId, Option<Incarnation>),
        number: MessageNumber,
        key: Option<MessageKey>,
        time: SystemTime,
        bytes: &'a [u8]
    ) {}

    /// One object per message. Either `text` or `base64` is present.
    pub(crate) struct MessageRecord<'a> {
        /// Stream ID, 16 hexadecimal digits
        stream: String = stream.to_string(),
        /// Publisher's incarnation; null if unknown
        incarnation: Option<u32> = incarnation.map(|incarnation| incarnation.0),
        /// Message number, from 0
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        sequence: MessageNumber = number,
        /// Key of the message; omitted if it was published without one
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        key: Option<MessageKey> = key,
        /// Length of the message in bytes
        length: usize = bytes.len(),
        /// Time of delivery; in a log, time at which it was appended (RFC 3339, UTC, with nanoseconds)
        time: String = rfc3339(time),
        #[serde(flatten)]
        payload: Payload<'a> = Payload::new(bytes),
    }
}

record! {
    pub(crate) fn new(message: MessageNumber, time: SystemTime, bytes: &'a [u8]) {}

    /// A snapshot as JSON.
    pub(crate) struct SnapshotRecord<'a> {
        /// Time of the record (RFC 3339, UTC, with nanoseconds)
        time: String = rfc3339(time),
        /// Number of the first message concerned; for a snapshot, the first message that it does not include
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        sequence: MessageNumber = message,
        /// Snapshot: length in bytes
        length: usize = bytes.len(),
        #[serde(flatten)]
        payload: Payload<'a> = Payload::new(bytes),
    }
}

record! {
    pub(crate) fn of(statistics: &PublisherStatistics) {}

    /// The repairs that a publisher has sent.
    #[derive(Clone, Copy, Default)]
    pub(crate) struct Repairs {
        /// Datagrams sent again to the group
        pub(crate) multicast: u64 = statistics.group_repairs,
        /// Datagrams sent again to a single subscriber
        pub(crate) unicast: u64 = statistics.single_repairs,
        /// Bytes in all repairs
        pub(crate) bytes: u64 = statistics.repair_bytes,
        /// NAKs received
        pub(crate) naks: u64 = statistics.naks,
        /// Datagrams requested after they had left the retransmission buffer
        pub(crate) unavailable: u64 = statistics.unrecoverable,
    }
}

impl Repairs {
    pub(crate) const fn count(&self) -> u64 {
        self.multicast + self.unicast
    }
}

record! {
    pub(crate) fn new(statistics: &HistoryServerStatistics) {}

    /// What a history server has done.
    pub(crate) struct ServedHistory {
        /// Requests received
        requests: u64 = statistics.requests,
        /// Records sent
        records: u64 = statistics.records,
        /// Bytes sent
        bytes: u64 = statistics.bytes,
        /// Requests postponed, because others were served first
        postponed: u64 = statistics.postponed,
        /// Requests refused: malformed ones, those of clients without the keys, and those for what is not here or
        /// cannot be read
        refused: u64 = statistics.refused,
    }
}

impl ServedHistory {
    /// Returns a description.
    pub(crate) fn text(&self) -> String {
        let about = |requests, what| match requests {
            0 => String::new(),
            requests => format!("; {what} {}", count_of(requests, "request")),
        };
        let (postponed, refused) = (about(self.postponed, "postponed"), about(self.refused, "refused"));
        format!(
            "sent {} of the history ({}) for {}{postponed}{refused}",
            count_of(self.records, "record"),
            bytes(self.bytes),
            count_of(self.requests, "request"),
        )
    }
}

/// Listens for subscribers that read a history.
pub(crate) fn listen_for_history(at: ServedHistoryAt) -> Result<HistoryListener, StreamError> {
    let listener = HistoryListener::bind(at.address)?;
    match at.rate {
        Some(rate) => listener.rate(rate),
        None => Ok(listener),
    }
}

/// Returns a description of a request for the history, or for a snapshot, that was refused.
pub(crate) fn refusal_text(what: &str, refused: &RefusedRequest) -> String {
    let RefusedRequest { client, reason } = refused;
    format!("a request for {what} from {client} was refused: {}", SafeText::new(reason.as_bytes()))
}

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<MessageRecord<'_>>(
        "message",
        "Message (`mcast subscribe --json`, `mcast log export`)",
    )
    .event("message")
    .describe("text", "Message, if it is valid UTF-8")
    .describe("base64", "Message in base64 (RFC 4648, section 4), if it is not valid UTF-8"),
}
