//! What a bridge into an engine reports, as text and as JSON.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast_bridge::{BridgeEvent, BridgeStatistics, EngineError, EngineRetention, GapCause, LossCause};
use mcast_stream::wire::MessageNumber;
use mcast_stream::{HistoryServerStatistics, RefusedRequest};
use serde::Serialize;

use crate::message_layer::ServedHistory;
use crate::output::{bytes, count_of, rfc3339, seconds};

/// Returns an event as text, and whether it is a warning. `unit` is what is kept: messages or datagrams.
pub(super) fn describe_bridge(event: &BridgeEvent, unit: &str) -> (bool, String) {
    match event {
        BridgeEvent::Retention(retention) => return retention_text(retention),
        BridgeEvent::Unstorable(record) => {
            let (position, sizes) = (record.position, record.sizes());
            let text = format!(
                "the engine does not take {position}{sizes}; a gap is recorded instead: {}",
                record.remedy
            );
            return (true, text);
        }
        BridgeEvent::EngineLost { before, now, cause, pause, given_up } => {
            let left = now.map_or_else(
                || "no longer has the stream".to_owned(),
                |now| format!("has records only up to {now}"),
            );
            let why = match cause {
                LossCause::Evicted { evictions } => {
                    format!("evicts what it stores (evicted_keys is {evictions}), and ")
                }
                _ => String::new(),
            };
            let again = match (given_up, pause.is_zero()) {
                (0, true) => String::new(),
                (0, false) => format!("; what it lost is appended again in {}", seconds(*pause)),
                (given_up, _) => {
                    format!("; {} that it lost before are recorded as a gap", count_of(*given_up, unit))
                }
            };
            return (true, format!("the engine {why}{left}, where its last record was {before}{again}"));
        }
        _ => {}
    }
    describe_other(event, unit)
}

/// Returns what an engine removes on its own, and whether that endangers what was just stored.
fn retention_text(retention: &EngineRetention) -> (bool, String) {
    let is_hasty = retention.rules.iter().any(|rule| rule.is_hasty);
    let parts: Vec<String> = retention
        .rules
        .iter()
        .filter(|rule| rule.is_hasty == is_hasty)
        .map(|rule| if is_hasty { format!("{} ({})", rule.what, rule.remedy) } else { rule.what.clone() })
        .collect();
    let start =
        if is_hasty { "the engine may remove what was just stored" } else { "the engine removes records" };
    (is_hasty, format!("{start}: {}", parts.join("; ")))
}

fn describe_other(event: &BridgeEvent, unit: &str) -> (bool, String) {
    match *event {
        BridgeEvent::Waiting(hole) => {
            let missing = match hole.end {
                MessageNumber::MAX => "an unknown number of messages".to_owned(),
                end => count_of(end.ahead_of(hole.start.number), "message"),
            };
            let (number, incarnation) = (hole.start.number, hole.start.incarnation);
            let place = format!("starting with {number} of incarnation {incarnation}");
            (false, format!("waiting in case another bridge has {missing}, {place}"))
        }
        BridgeEvent::OtherBridge => (
            false,
            "another bridge keeps datagrams there, or did within the last 5 s; datagrams are buffered until it is gone"
                .to_owned(),
        ),
        BridgeEvent::Gap { incarnation, first, end, cause } => {
            let missing = match end {
                Some(end) => count_of(end.ahead_of(first), &format!("missing {unit}")),
                None => format!("an unknown number of missing {unit}s"),
            };
            let place = format!("starting with {first} of incarnation {incarnation}");
            (true, format!("recorded {missing}, {place}: {}", cause_text(cause)))
        }
        BridgeEvent::Superseded { incarnation, stored } => {
            let text = format!(
                "messages of incarnation {incarnation} are not stored, because incarnation {stored} is stored already: \
                 the publisher's clock was set back (see publish --state), or another bridge has stored them; to store \
                 them, use another key of the engine, or delete this one"
            );
            (true, text)
        }
        BridgeEvent::Ahead { incarnation, present } => {
            let text = format!(
                "messages of incarnation {incarnation} are not stored, because it is far ahead of the clock, which gives \
                 {present}, and nothing could be stored after it: the clock of the publisher or of this machine is wrong, \
                 or somebody forges the stream (see --accept-ahead)"
            );
            (true, text)
        }
        BridgeEvent::EngineHealed { now } => {
            (false, format!("the engine has again what it had lost, up to {now}"))
        }
        _ => (false, format!("{event:?}")),
    }
}

fn cause_text(cause: GapCause) -> &'static str {
    match cause {
        GapCause::JoinedLate => "no bridge was there when they were published",
        GapCause::EngineLost => "the engine lost them, and they are not appended again (see --buffer)",
        GapCause::ReceiveBufferFull => "the system dropped them, because the receive buffer was full",
        GapCause::TooLarge => "they are larger than the engine allows",
        GapCause::Refused => "the engine refuses them",
        GapCause::Lost(_) => "no bridge received them",
    }
}

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

/// One object per event of the bridge; events of the stream are as those of `mcast subscribe --json`. Fields that
/// do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct BridgeRecord {
    /// Event: there is a connection to the engine (`connected`), or the engine cannot be used at present and
    /// messages are buffered (`disconnected`); the bridge lacks messages and waits in case another bridge has them
    /// (`waiting`), or another bridge keeps the datagrams of a plain group there (`other-bridge`), or recorded that
    /// they are missing (`gap`); messages arrive of an incarnation that is older than what is stored
    /// (`superseded`), or far ahead of the clock (`ahead-of-clock`); the engine lost records that it had stored
    /// (`engine-lost`), or has them again (`engine-healed`); it removes records on its own
    /// (`retention`), or can never take a message, for which a gap is recorded (`unstorable`); the history server is ready (`serving-history`), or
    /// has refused a request (`history-refused`: at most 10 in 10 s, 3 of them of one address, and then the latest
    /// every 10 s); a bridge of a file has failed (`failed`), the file was read again (`reloaded`, with the number
    /// of bridges), or is not valid and the bridges stay as they are (`not-reloaded`)
    event: &'static str,
    /// Time of the record (RFC 3339, UTC, with nanoseconds)
    time: String,
    /// The key and the address of the engine, with `connected` and `disconnected`
    engine: Option<String>,
    /// Address of the history server, with `serving-history`; of its client, with `history-refused`
    address: Option<SocketAddr>,
    /// Incarnation of the messages; with `engine-lost`, that of the last record that is left
    incarnation: Option<u32>,
    /// Number of the first missing message; with `engine-lost` and `engine-healed`, that of the last record
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    sequence: Option<MessageNumber>,
    /// Number of missing messages, null if it is unknown; with `engine-lost`, number of messages that are not
    /// appended again, because the engine lost them too often; with `history-refused`, number of requests that were
    /// refused so far
    count: Option<u64>,
    /// Why the messages of a `gap` are missing: as for `lost` of `mcast subscribe --json`, or no bridge was there
    /// when they were published (`joined-late`), or the engine lost them (`engine-lost`), or the system dropped
    /// datagrams of a plain group because the receive buffer was full (`receive-buffer-full`), or the engine can
    /// never take them (`too-large`, `refused`), as with `unstorable`; with `engine-lost`, that the engine counts
    /// evictions since (`evicted`), null if the reason is unknown
    cause: Option<&'static str>,
    /// Why the engine cannot be used, or the request was refused; with `retention` and `unstorable`, what the engine
    /// removes or does not take
    reason: Option<String>,
    /// What to do about it
    remedy: Option<String>,
    /// Only with `history-refused`, and only if present: number of others that were refused within the 10 s before
    /// it and are not reported
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u64>,
}

impl BridgeRecord {
    fn new(event: &'static str) -> Self {
        Self { event, time: rfc3339(SystemTime::now()), ..Self::default() }
    }

    /// Returns the name of the event.
    pub(super) const fn event(&self) -> &'static str {
        self.event
    }

    pub(super) fn connected(engine: &str) -> Self {
        Self { engine: Some(engine.to_owned()), ..Self::new("connected") }
    }

    pub(super) fn disconnected(engine: &str, error: &EngineError) -> Self {
        Self {
            engine: Some(engine.to_owned()),
            reason: Some(error.what.clone()),
            remedy: error.remedy.clone(),
            ..Self::new("disconnected")
        }
    }

    pub(super) fn serving_history(at: SocketAddr) -> Self {
        Self { address: Some(at), ..Self::new("serving-history") }
    }

    /// `count` is how many requests for the history were refused so far, and `more` how many of them are not reported.
    pub(super) fn history_refused(refused: RefusedRequest, count: u64, more: u64) -> Self {
        Self {
            address: Some(refused.client),
            count: Some(count),
            more: (more > 0).then_some(more),
            reason: Some(refused.reason),
            ..Self::new("history-refused")
        }
    }

    /// A bridge of a file has failed.
    pub(super) fn failed(reason: String, remedy: Option<String>) -> Self {
        Self { reason: Some(reason), remedy, ..Self::new("failed") }
    }

    /// The file of bridges was read again: it has `count`.
    pub(super) fn reloaded(count: u64) -> Self {
        Self { count: Some(count), ..Self::new("reloaded") }
    }

    pub(super) fn not_reloaded(reason: String) -> Self {
        Self { reason: Some(reason), ..Self::new("not-reloaded") }
    }

    pub(super) fn of(event: &BridgeEvent) -> Self {
        match *event {
            BridgeEvent::Waiting(hole) => Self {
                incarnation: Some(hole.start.incarnation.0),
                sequence: Some(hole.start.number),
                count: (hole.end != MessageNumber::MAX).then(|| hole.end.ahead_of(hole.start.number)),
                ..Self::new("waiting")
            },
            BridgeEvent::OtherBridge => Self::new("other-bridge"),
            BridgeEvent::Gap { incarnation, first, end, cause } => Self {
                incarnation: Some(incarnation.0),
                sequence: Some(first),
                count: end.map(|end| end.ahead_of(first)),
                cause: Some(cause.name()),
                ..Self::new("gap")
            },
            BridgeEvent::Superseded { incarnation, .. } => {
                Self { incarnation: Some(incarnation.0), ..Self::new("superseded") }
            }
            BridgeEvent::Ahead { incarnation, .. } => {
                Self { incarnation: Some(incarnation.0), ..Self::new("ahead-of-clock") }
            }
            BridgeEvent::EngineLost { now, ref cause, given_up, .. } => Self {
                incarnation: now.map(|now| now.incarnation.0),
                sequence: now.map(|now| now.number),
                count: Some(given_up),
                cause: matches!(cause, LossCause::Evicted { .. }).then_some("evicted"),
                ..Self::new("engine-lost")
            },
            BridgeEvent::Retention(ref retention) => {
                Self { reason: Some(retention_text(retention).1), ..Self::new("retention") }
            }
            BridgeEvent::Unstorable(record) => Self {
                incarnation: Some(record.position.incarnation.0),
                sequence: Some(record.position.number),
                count: Some(1),
                cause: Some(record.why.cause().name()),
                reason: Some(format!("the engine does not take it{}", record.sizes())),
                remedy: Some(record.remedy.to_owned()),
                ..Self::new("unstorable")
            },
            BridgeEvent::EngineHealed { now } => Self {
                incarnation: Some(now.incarnation.0),
                sequence: Some(now.number),
                ..Self::new("engine-healed")
            },
        }
    }
}

/// The last object.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct KeepingSummary {
    /// The key and the address of the engine
    engine: String,
    /// Stream as 16 hexadecimal digits; null if none was found
    stream: Option<String>,
    /// Time that the bridge ran, in seconds
    seconds: f64,
    /// Messages received
    messages: u64,
    /// Bytes of messages received
    bytes: u64,
    /// Records that this bridge appended
    appended: u64,
    /// Records that had been stored before
    already_stored: u64,
    /// Batches that the engine refused, because another bridge was first
    refused: u64,
    /// Gap records that this bridge appended
    gaps: u64,
    /// Messages in them, where their number is known
    missing: u64,
    /// How often the engine lost stored records
    engine_losses: u64,
    /// How often of these it had evicted streams
    evictions: u64,
    /// Messages that were not appended again, because the engine had lost them too often
    given_up: u64,
    /// Messages that the engine can never take
    unstorable: u64,
    /// Messages that were not stored, because they are of an incarnation that was over
    superseded: u64,
    /// Messages of the present incarnation that are stored nowhere, because it is older than the stored one or far
    /// ahead of the clock
    not_stored: u64,
    /// Records that are not stored
    pending: u64,
    /// What the history server has done; null without `--serve-history`
    history: Option<ServedHistory>,
}

impl KeepingSummary {
    pub(super) fn new(
        engine: &str,
        stream: Option<String>,
        statistics: &BridgeStatistics,
        history: Option<&HistoryServerStatistics>,
        time: Duration,
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            stream,
            seconds: time.as_secs_f64(),
            messages: statistics.messages,
            bytes: statistics.message_bytes,
            appended: statistics.appended,
            already_stored: statistics.already_stored,
            refused: statistics.refused,
            gaps: statistics.gaps,
            missing: statistics.missing,
            engine_losses: statistics.engine_losses,
            evictions: statistics.evictions,
            given_up: statistics.given_up,
            unstorable: statistics.unstorable,
            superseded: statistics.superseded,
            not_stored: statistics.not_stored,
            pending: statistics.pending as u64,
            history: history.map(ServedHistory::new),
        }
    }
}
