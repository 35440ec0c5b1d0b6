//! Events and the summary as text.

use std::time::Duration;

use mcast_bridge::{GapCause, ReverseEvent, ReverseStatistics};
use mcast_stream::publisher::PublisherEvent;

use crate::log_lines::LogLines;
use crate::output::{bytes, count_of, seconds};

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
        _ => lines.detail(format_args!("{event:?}")),
    }
}

fn cause_text(cause: GapCause) -> &'static str {
    match cause {
        GapCause::JoinedLate => "no bridge was there when they were published",
        GapCause::EngineLost => "the engine lost them",
        GapCause::ReceiveBufferFull => "the system of the bridge that stored the others dropped them",
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
            "evicted subscriber {subscriber}: too slow, {} behind (--evict-after allows more time)",
            count_of(missing, "datagram")
        )),
        PublisherEvent::Unrecoverable(subscriber, first, end) => lines.warn(format_args!(
            "subscriber {subscriber} missed {} that have left the retransmission buffer (--history enlarges it)",
            count_of(end.ahead_of(first), "datagram")
        )),
        _ => lines.detail(format_args!("{event:?}")),
    }
}

/// Returns the summary. `unit` is what was published: messages or datagrams.
pub(super) fn summary(statistics: &ReverseStatistics, unit: &str, time: Duration) -> String {
    let gaps = match statistics.gaps {
        0 => "no gaps".to_owned(),
        gaps => {
            let missing = count_of(statistics.missing, &format!("missing {unit}"));
            format!("{} for {missing}", count_of(gaps, "gap"))
        }
    };
    let verb = if unit == "datagram" { "sent" } else { "published" };
    format!(
        "{verb} {} ({}) in {}; {gaps}",
        count_of(statistics.messages, unit),
        bytes(statistics.message_bytes),
        seconds(time),
    )
}
