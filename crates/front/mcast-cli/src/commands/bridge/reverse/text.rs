//! What a bridge out of an engine reports, as text and as JSON.

use std::time::{Duration, SystemTime};

use mcast_bridge::{EngineError, GapCause, ReverseEvent, ReverseStatistics};
use mcast_stream::publisher::PublisherEvent;
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use serde::Serialize;

use crate::commands::bridge::text::gaps_text;
use crate::log_lines::LogLines;
use crate::output::{bytes, count_of, rfc3339, seconds};

/// Prints an event of the bridge. `unit` is what it publishes: messages or datagrams.
pub(super) fn print(event: &ReverseEvent, unit: &str, lines: &LogLines<'_>) {
    match *event {
        ReverseEvent::StandingBy { incarnation } => lines.note(format_args!(
            "another bridge publishes the stream, under incarnation {incarnation}: standing by"
        )),
        ReverseEvent::Began { incarnation, position, is_takeover: true } => {
            lines.note(format_args!("taking over under incarnation {incarnation}, starting with {position}"));
        }
        ReverseEvent::Began { incarnation, position, .. } => {
            lines.note(format_args!("publishing under incarnation {incarnation}, starting with {position}"));
        }
        ReverseEvent::WaitingForSubscribers { joined, required } => {
            let missing = count_of(required.saturating_sub(joined), "more subscriber");
            let text = format!(
                "nothing is published yet: waiting for {missing} (--wait-for). A subscriber that has received later \
                 messages of this stream does not join"
            );
            let remedy = "start such a subscriber again, or publish under another name with --name, or further on with --from";
            lines.advise(text, Some(remedy.to_owned()));
        }
        ReverseEvent::Gap { from, end, cause } => {
            let missing = count_of(end.ahead_of(from.number), unit);
            let why = cause.map_or("they were removed from it", cause_text);
            lines.warn(format_args!("the engine lacks {missing}, starting with {from}: {why}"));
        }
        ReverseEvent::OpenGap { position, cause } => lines.warn(format_args!(
            "the engine may lack {unit}s, starting with {position}: {}",
            cause_text(cause)
        )),
        ReverseEvent::Ended { incarnation, messages } => lines.note(format_args!(
            "incarnation {incarnation} has ended after {}",
            count_of(messages, "message")
        )),
    }
}

fn cause_text(cause: GapCause) -> &'static str {
    match cause {
        GapCause::JoinedLate => "no bridge was there when they were published",
        GapCause::EngineLost => "the engine lost them",
        GapCause::ReceiveBufferFull => "the system of the bridge that stored the others dropped them",
        GapCause::TooLarge => "they are larger than the engine or the stream allows",
        GapCause::Refused => "the engine refused them",
        GapCause::Lost(_) => "no bridge received them",
    }
}

/// Prints an event of the publisher.
pub(super) fn print_publisher(event: &PublisherEvent, lines: &LogLines<'_>) {
    match *event {
        PublisherEvent::SubscriberJoined(_, address) => {
            lines.about(Some(address.ip())).note(format_args!("subscriber {} joined", address.ip()));
        }
        PublisherEvent::SubscriberEvicted(subscriber, missing) => lines.warn(format_args!(
            "evicted subscriber {subscriber}: {} behind without progress: too slow, or the group no longer arrives there \
             (--evict-after allows more time)",
            count_of(missing, "datagram")
        )),
        PublisherEvent::Superseded(subscriber) => lines.warn(format_args!(
            "superseded: another bridge, or a publisher of the same name, was started later, and subscriber {subscriber} follows it; \
             stop one of the two"
        )),
        PublisherEvent::Unrecoverable(subscriber, first, end) => lines.warn(format_args!(
            "subscriber {subscriber} missed {}, no longer in the retransmission buffer (--history enlarges it)",
            count_of(end.ahead_of(first), "datagram")
        )),
        _ => lines.detail(format_args!("{event:?}")),
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

/// One object per event. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct EventRecord {
    /// Event: there is a connection to the engine (`connected`), or the engine cannot be used at present
    /// (`disconnected`); another bridge publishes the stream (`standing-by`); this bridge publishes from now on
    /// (`began`), in place of another one (`took-over`), and has waited for subscribers for 5 s
    /// (`waiting-for-subscribers`); messages are missing in the engine (`gap`); the stream in the engine was closed
    /// (`ended`)
    event: &'static str,
    /// Time of the record (RFC 3339, UTC, with nanoseconds)
    time: String,
    /// The key and the address of the engine, with `connected` and `disconnected`
    engine: Option<String>,
    /// Incarnation that this bridge publishes under (`began`, `took-over`), or another one (`standing-by`)
    publisher_incarnation: Option<u32>,
    /// Incarnation of the messages in the engine
    incarnation: Option<u32>,
    /// Number of the first message that is published, or of the first missing one
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    sequence: Option<MessageNumber>,
    /// Number of missing messages, null if it is unknown; with `waiting-for-subscribers`, how many more it waits
    /// for; with `ended`, the number of messages
    count: Option<u64>,
    /// Why the messages of a `gap` are missing: as in the gap record, or records were removed from the engine
    /// (`removed`)
    cause: Option<&'static str>,
    /// Why the engine cannot be used
    reason: Option<String>,
    /// What to do about it
    remedy: Option<String>,
}

impl EventRecord {
    fn new(event: &'static str) -> Self {
        Self { event, time: rfc3339(SystemTime::now()), ..Self::default() }
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

    fn at(event: &'static str, incarnation: Incarnation, number: MessageNumber) -> Self {
        Self { incarnation: Some(incarnation.0), sequence: Some(number), ..Self::new(event) }
    }

    pub(super) fn of(event: &ReverseEvent) -> Self {
        match *event {
            ReverseEvent::StandingBy { incarnation } => {
                Self { publisher_incarnation: Some(incarnation.0), ..Self::new("standing-by") }
            }
            ReverseEvent::Began { incarnation, position, is_takeover } => Self {
                publisher_incarnation: Some(incarnation.0),
                ..Self::at(
                    if is_takeover { "took-over" } else { "began" },
                    position.incarnation,
                    position.number,
                )
            },
            ReverseEvent::WaitingForSubscribers { joined, required } => {
                Self { count: Some(required.saturating_sub(joined)), ..Self::new("waiting-for-subscribers") }
            }
            ReverseEvent::Gap { from, end, cause } => Self {
                count: Some(end.ahead_of(from.number)),
                cause: Some(cause.map_or("removed", |cause| cause.name())),
                ..Self::at("gap", from.incarnation, from.number)
            },
            ReverseEvent::OpenGap { position, cause } => {
                Self { cause: Some(cause.name()), ..Self::at("gap", position.incarnation, position.number) }
            }
            ReverseEvent::Ended { incarnation, messages } => {
                Self { incarnation: Some(incarnation.0), count: Some(messages), ..Self::new("ended") }
            }
        }
    }
}

/// The last object.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct ReverseSummary {
    /// The key and the address of the engine
    engine: String,
    /// Stream that was published, as 16 hexadecimal digits; null if datagrams of a plain group were sent
    stream: Option<String>,
    /// Time that the bridge ran, in seconds
    seconds: f64,
    /// Messages published
    messages: u64,
    /// Bytes of messages published
    bytes: u64,
    /// Gaps in the engine
    gaps: u64,
    /// Messages in them, where their number is known
    missing: u64,
    /// How often this bridge began to publish
    begun: u64,
    /// How often it took over from another bridge
    takeovers: u64,
    /// Whether all subscribers have everything that was published
    complete: bool,
}

impl ReverseSummary {
    pub(super) fn new(
        engine: &str,
        stream: Option<StreamId>,
        statistics: &ReverseStatistics,
        time: Duration,
        complete: bool,
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            stream: stream.map(|stream| stream.to_string()),
            seconds: time.as_secs_f64(),
            messages: statistics.messages,
            bytes: statistics.message_bytes,
            gaps: statistics.gaps,
            missing: statistics.missing,
            begun: statistics.begun,
            takeovers: statistics.takeovers,
            complete,
        }
    }
}
