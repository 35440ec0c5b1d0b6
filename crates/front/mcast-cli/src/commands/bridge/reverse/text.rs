//! What a bridge from a broker reports, as text and as JSON.

use std::time::{Duration, SystemTime};

use mcast_bridge::ReverseStatistics;
use mcast_json::EventReport;
use mcast_stream::publisher::KnownSubscribers;
use mcast_stream::wire::{MessageNumber, StreamId};

use crate::commands::bridge::text::gaps_text;
use crate::output::{bytes, count_of, record, rfc3339, seconds};

/// The subscribers of a bridge, which reports them by their ids.
pub(super) struct UnknownSubscribers;

impl KnownSubscribers for UnknownSubscribers {
    fn buffer_option(&self) -> &'static str {
        "--buffer"
    }
}

/// Returns the summary. `unit` is what was published: messages or datagrams.
pub(super) fn summary(statistics: &ReverseStatistics, unit: &str, time: Duration) -> String {
    let gaps = gaps_text(statistics.gaps, statistics.missing, unit);
    let verb = if unit == "datagram" { "sent" } else { "published" };
    format!(
        "{verb} {} ({}) in {}; {gaps}",
        count_of(statistics.messages, unit),
        bytes(statistics.message_bytes),
        seconds(time),
    )
}

record! {
    /// Returns the record of an event.
    pub(super) fn of(report: EventReport) {
        let (number, text) = (|name| report.number_of(name), |name| report.text_of(name));
        let incarnation = |name| number(name).and_then(|number| number.try_into().ok());
    }

    /// One object per event. Fields that do not apply to an event are null.
    #[derive(Clone)]
    pub(super) struct EventRecord {
        /// Event: there is a connection to the broker (`connected`), or the broker cannot be used at present
        /// (`disconnected`); another bridge publishes the stream (`standing-by`); this bridge publishes from now on
        /// (`began`), in place of another one (`took-over`), and has waited for subscribers for 5 s
        /// (`waiting-for-subscribers`); messages are missing in the broker (`gap`); the stream in the broker was closed
        /// (`ended`)
        event: &'static str = report.name,
        /// Time of the record (RFC 3339, UTC, with nanoseconds)
        time: String = rfc3339(SystemTime::now()),
        /// The key and the address of the broker, with `connected` and `disconnected`
        engine: Option<String> = text("engine"),
        /// Incarnation that this bridge publishes under (`began`, `took-over`), or another one (`standing-by`)
        publisher_incarnation: Option<u32> = incarnation("publisher_incarnation"),
        /// Incarnation of the messages in the broker
        incarnation: Option<u32> = incarnation("incarnation"),
        /// Number of the first message that is published, or of the first missing one
        #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
        sequence: Option<MessageNumber> = number("sequence").map(MessageNumber),
        /// Number of missing messages, null if it is unknown; with `waiting-for-subscribers`, how many more it waits
        /// for; with `ended`, the number of messages
        count: Option<u64> = number("count"),
        /// Why the messages of a `gap` are missing: as in the gap record, or records were removed from the broker
        /// (`removed`)
        cause: Option<String> = text("cause"),
        /// Why the broker cannot be used
        reason: Option<String> = text("reason"),
        /// What to do about it
        remedy: Option<String> = report.remedy.clone(),
    }
}

record! {
    pub(super) fn new(
        engine: &str,
        stream: Option<StreamId>,
        statistics: &ReverseStatistics,
        time: Duration,
        complete: bool,
    ) {}

    /// The last object.
    pub(super) struct ReverseSummary {
        /// The key and the address of the broker
        engine: String = engine.to_owned(),
        /// Stream that was published, as 16 hexadecimal digits; null if datagrams of a plain group were sent
        stream: Option<String> = stream.map(|stream| stream.to_string()),
        /// Time that the bridge ran, in seconds
        seconds: f64 = time.as_secs_f64(),
        /// Messages published
        messages: u64 = statistics.messages,
        /// Bytes of messages published
        bytes: u64 = statistics.message_bytes,
        /// Gaps in the broker
        gaps: u64 = statistics.gaps,
        /// Messages in them, where their number is known
        missing: u64 = statistics.missing,
        /// How often this bridge began to publish
        begun: u64 = statistics.begun,
        /// How often it took over from another bridge
        takeovers: u64 = statistics.takeovers,
        /// Whether all subscribers have everything that was published
        complete: bool = complete,
    }
}
