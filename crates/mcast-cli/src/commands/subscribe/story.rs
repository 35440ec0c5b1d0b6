//! What happens to a stream, in words and as JSON.

use mcast_stream::receiver::{Cause, Event};
use serde::Serialize;

use crate::output::count_of;

/// An event as a JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    event: &'static str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u16>,
}

impl Told {
    pub(super) fn new(event: &Event, time: String) -> Self {
        let told = Self {
            event: event.name(),
            time,
            incarnation: None,
            sender: None,
            sequence: None,
            count: None,
            cause: None,
            path: None,
            epoch: None,
        };
        match *event {
            Event::Joined { incarnation, sender, message } => Self {
                incarnation: Some(incarnation.0),
                sender: Some(sender.to_string()),
                sequence: Some(message),
                ..told
            },
            Event::Lost { first, end, cause } => Self {
                sequence: Some(first),
                count: Some(end.saturating_sub(first)),
                cause: Some(cause.name()),
                ..told
            },
            Event::Restarted { to, .. } => Self { incarnation: Some(to.0), ..told },
            Event::Ended { messages } => Self { count: Some(messages), ..told },
            Event::Stalled { waiting, .. } => Self { count: Some(waiting), ..told },
            Event::SnapshotWanted { message } => Self { sequence: Some(message), ..told },
            Event::PathSilent(path) | Event::PathBack(path) => Self { path: Some(path), ..told },
            Event::KeyMissing(epoch) => Self { epoch: Some(epoch.0), ..told },
            _ => told,
        }
    }
}

/// The cause in words.
const fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Unrecoverable => "the publisher no longer has them (its --history keeps more)",
        Cause::Deadline => "they did not come in time",
        Cause::NotRepaired => "they did not come, and nothing was asked for",
        Cause::Restart => "the publisher has started again, and took them with it",
        Cause::Unreadable => "they are longer than allowed here, or their pieces make no message",
        _ => "they could not be had",
    }
}

/// How much an event matters to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Warning,
    Note,
    Detail,
}

/// The event in words.
pub(super) fn words(event: &Event) -> (Weight, String) {
    match *event {
        Event::Joined { sender, message, .. } => {
            (Weight::Note, format!("listening to {}, from message {message} on", sender.ip()))
        }
        Event::Lost { first, end, cause } => {
            let lost = count_of(end.saturating_sub(first), "message");
            (Weight::Warning, format!("lost {lost}, from {first} on: {}", why(cause)))
        }
        Event::Restarted { .. } => (Weight::Note, "the publisher has started again".into()),
        Event::Ended { messages } => {
            (Weight::Note, format!("the stream has ended after {}", count_of(messages, "message")))
        }
        Event::Stalled { waiting, .. } => {
            (Weight::Note, format!("waiting for a repair; {} wait behind it", count_of(waiting, "datagram")))
        }
        Event::PathSilent(path) => (Weight::Warning, format!("path {} is silent", path + 1)),
        Event::PathBack(path) => (Weight::Note, format!("path {} is back", path + 1)),
        Event::SenderSilent => (Weight::Warning, "the publisher says nothing any more".into()),
        Event::SenderBack => (Weight::Note, "the publisher is back".into()),
        Event::Evicted => {
            (Weight::Warning, "too slow: the publisher no longer waits for this subscriber".into())
        }
        Event::KeyMissing(epoch) => (
            Weight::Warning,
            format!("sealed with the secret of epoch {epoch}, which is not known here (--key)"),
        ),
        Event::Stale => {
            let text = "a publisher whose clock differs by minutes is not believed: what it says may be old";
            (Weight::Warning, text.into())
        }
        Event::SnapshotWanted { message } => {
            (Weight::Detail, format!("a snapshot is wanted up to message {message}"))
        }
        _ => (Weight::Detail, format!("{event:?}")),
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{Incarnation, KeyEpoch};

    use super::*;

    #[test]
    fn the_schema_names_every_event_and_cause() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../schemas/stream-event.json")).unwrap();
        let lost = |cause| Event::Lost { first: 1, end: 3, cause };
        let events = [
            Event::Joined { incarnation: Incarnation(1), sender: ([10, 0, 0, 1], 7).into(), message: 2 },
            lost(Cause::Unrecoverable),
            lost(Cause::Deadline),
            lost(Cause::NotRepaired),
            lost(Cause::Restart),
            lost(Cause::Unreadable),
            Event::SnapshotWanted { message: 1 },
            Event::Restarted { from: Incarnation(1), to: Incarnation(2) },
            Event::Ended { messages: 3 },
            Event::Stalled { datagram: 1, waiting: 2 },
            Event::PathSilent(0),
            Event::PathBack(0),
            Event::SenderSilent,
            Event::SenderBack,
            Event::Evicted,
            Event::KeyMissing(KeyEpoch(1)),
            Event::Stale,
        ];
        for event in events {
            let told = serde_json::to_value(Told::new(&event, String::new())).unwrap();
            for field in ["event", "cause"] {
                let Some(name) = told.get(field) else { continue };
                let known = schema["properties"][field]["enum"].as_array().unwrap();
                assert!(known.contains(name), "{name} is no {field} of the schema");
            }
            assert!(!words(&event).1.is_empty());
        }
    }
}
