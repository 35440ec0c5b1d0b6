//! What a bridge into a broker reports, as text and as JSON.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast_bridge::{BridgeStatistics, EngineError};
use mcast_json::{EventReport, EventValue};
use mcast_stream::wire::MessageNumber;
use mcast_stream::{HistoryServerStatistics, RefusedRequest};

use crate::message_layer::ServedHistory;
use crate::output::{bytes, count_of, record, rfc3339, seconds};

/// Returns the note on a backlog.
pub(super) fn backlog_text(statistics: &BridgeStatistics, lag: Duration) -> String {
    let pending = count_of(statistics.pending as u64, "record");
    let size = bytes(statistics.pending_bytes as u64);
    format!("{pending} ({size}) are not stored yet; the oldest has been waiting for {}", seconds(lag))
}

/// Returns how many gaps there are, and how much is known to be missing in them.
pub(super) fn gaps_text(gaps: u64, missing: u64, unit: &str) -> String {
    match gaps {
        0 => "no gaps".to_owned(),
        _ => format!("{} for {}", count_of(gaps, "gap"), count_of(missing, &format!("missing {unit}"))),
    }
}

/// Returns the summary. `unit` is what is kept: messages or datagrams.
pub(super) fn summary_text(statistics: &BridgeStatistics, unit: &str, time: Duration) -> String {
    let others = match statistics.already_stored {
        0 => String::new(),
        records => format!("; {} had been stored before", count_of(records, "record")),
    };
    let gaps = gaps_text(statistics.gaps, statistics.missing, unit);
    let not_stored = match statistics.not_stored {
        0 => String::new(),
        messages => format!("; not stored: {}", count_of(messages, unit)),
    };
    format!(
        "received {} ({}) in {}; appended {}{others}; {gaps}{not_stored}",
        count_of(statistics.messages, unit),
        bytes(statistics.message_bytes),
        seconds(time),
        count_of(statistics.appended, "record"),
    )
}

record! {
    /// Returns the record of an event.
    pub(super) fn of(report: EventReport) {
        let (number, text) = (|name| report.number_of(name), |name| report.text_of(name));
    }

    /// One object per event of the bridge; events of the stream are as those of `mcast subscribe --json`. Fields that
    /// do not apply to an event are null.
    #[derive(Clone)]
    pub(super) struct BridgeRecord {
        /// Event: there is a connection to the broker (`connected`), or the broker cannot be used at present and
        /// messages are buffered (`disconnected`); the bridge lacks messages and waits in case another bridge has them
        /// (`waiting`), or another bridge keeps the datagrams of a plain group there (`other-bridge`), or recorded that
        /// they are missing (`gap`); messages arrive of an incarnation that is older than what is stored
        /// (`superseded`), or far ahead of the clock (`ahead-of-clock`); the broker lost records that it had stored
        /// (`engine-lost`), or has them again (`engine-healed`); it removes records on its own
        /// (`retention`), or can never take a message, for which a gap is recorded (`unstorable`); the history server is ready (`serving-history`), or
        /// has refused a request (`history-refused`: at most 10 in 10 s, 3 of them of one address, and then the latest
        /// every 10 s); a bridge of a file has failed (`failed`), the file was read again (`reloaded`, with the number
        /// of bridges), or is not valid and the bridges stay as they are (`not-reloaded`)
        event: &'static str = report.name,
        /// Time of the record (RFC 3339, UTC, with nanoseconds)
        time: String = rfc3339(SystemTime::now()),
        /// The key and the address of the broker, with `connected` and `disconnected`
        engine: Option<String> = text("engine"),
        /// Address of the history server, with `serving-history`; of its client, with `history-refused`
        address: Option<SocketAddr> = match report.field("address") {
            Some(EventValue::Endpoint(address)) => Some(*address),
            _ => None,
        },
        /// Incarnation of the messages; with `engine-lost`, that of the last record that is left
        incarnation: Option<u32> = number("incarnation").and_then(|number| number.try_into().ok()),
        /// Number of the first missing message; with `engine-lost` and `engine-healed`, that of the last record
        #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
        sequence: Option<MessageNumber> = number("sequence").map(MessageNumber),
        /// Number of missing messages, null if it is unknown; with `engine-lost`, number of messages that are not
        /// appended again, because the broker lost them too often; with `history-refused`, number of requests that were
        /// refused so far
        count: Option<u64> = number("count"),
        /// Why the messages of a `gap` are missing: as for `lost` of `mcast subscribe --json`, or no bridge was there
        /// when they were published (`joined-late`), or the broker lost them (`engine-lost`), or the system dropped
        /// datagrams of a plain group because the receive buffer was full (`receive-buffer-full`), or the broker can
        /// never take them (`too-large`, `refused`), as with `unstorable`; with `engine-lost`, that the broker counts
        /// evictions since (`evicted`), null if the reason is unknown
        cause: Option<String> = text("cause"),
        /// Why the broker cannot be used, or the request was refused; with `retention` and `unstorable`, what the broker
        /// removes or does not take
        reason: Option<String> = text("reason"),
        /// What to do about it
        remedy: Option<String> = report.remedy.clone(),
        /// Only with `history-refused`, and only if present: number of others that were refused within the 10 s before
        /// it and are not reported
        #[serde(skip_serializing_if = "Option::is_none")]
        more: Option<u64> = number("more"),
    }
}

impl BridgeRecord {
    pub(super) fn serving_history(at: SocketAddr) -> Self {
        Self::of(report("serving-history").with("address", at))
    }

    /// `count` is how many requests for the history were refused so far, and `more` how many of them are not reported.
    pub(super) fn history_refused(refused: RefusedRequest, count: u64, more: u64) -> Self {
        let report = report("history-refused").with("address", refused.client).with("count", count);
        Self::of(report.with("reason", refused.reason).with("more", (more > 0).then_some(more)))
    }

    /// A bridge of a file has failed.
    pub(super) fn failed(reason: String, remedy: Option<String>) -> Self {
        Self::of(report("failed").with("reason", reason).with_remedy(remedy))
    }

    /// The file of bridges was read again: it has `count`.
    pub(super) fn reloaded(count: u64) -> Self {
        Self::of(report("reloaded").with("count", count))
    }

    pub(super) fn not_reloaded(reason: String) -> Self {
        Self::of(report("not-reloaded").with("reason", reason))
    }
}

/// There is a connection to the broker.
pub(super) fn connected(engine: &str) -> EventReport {
    report("connected").with("engine", engine)
}

/// The broker cannot be used at present.
pub(super) fn disconnected(engine: &str, error: &EngineError) -> EventReport {
    let report = report("disconnected").with("engine", engine).with("reason", error.what.clone());
    report.with_remedy(error.remedy.clone())
}

/// Returns the report of an event of the process, which has no sentence of its own.
fn report(name: &'static str) -> EventReport {
    EventReport::new(name, String::new())
}

record! {
    pub(super) fn new(
        engine: &str,
        stream: Option<String>,
        statistics: &BridgeStatistics,
        history: Option<&HistoryServerStatistics>,
        time: Duration,
    ) {}

    /// The last object.
    pub(super) struct KeepingSummary {
        /// The key and the address of the broker
        engine: String = engine.to_owned(),
        /// Stream as 16 hexadecimal digits; null if none was found
        stream: Option<String> = stream,
        /// Time that the bridge ran, in seconds
        seconds: f64 = time.as_secs_f64(),
        /// Messages received
        messages: u64 = statistics.messages,
        /// Bytes of messages received
        bytes: u64 = statistics.message_bytes,
        /// Records that this bridge appended
        appended: u64 = statistics.appended,
        /// Records that had been stored before
        already_stored: u64 = statistics.already_stored,
        /// Batches that the broker refused, because another bridge was first
        refused: u64 = statistics.refused,
        /// Gap records that this bridge appended
        gaps: u64 = statistics.gaps,
        /// Messages in them, where their number is known
        missing: u64 = statistics.missing,
        /// How often the broker lost stored records
        engine_losses: u64 = statistics.engine_losses,
        /// How often of these it had evicted streams
        evictions: u64 = statistics.evictions,
        /// Messages that were not appended again, because the broker had lost them too often
        given_up: u64 = statistics.given_up,
        /// Messages that the broker can never take
        unstorable: u64 = statistics.unstorable,
        /// Messages that were not stored, because they are of an incarnation that was over
        superseded: u64 = statistics.superseded,
        /// Messages of the present incarnation that are stored nowhere, because it is older than the stored one or far
        /// ahead of the clock
        not_stored: u64 = statistics.not_stored,
        /// Records that are not stored
        pending: u64 = statistics.pending as u64,
        /// What the history server has done; null without `--serve-history`
        history: Option<ServedHistory> = history.map(ServedHistory::new),
    }
}
