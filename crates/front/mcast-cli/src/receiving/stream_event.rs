//! Events of a stream, as text and as JSON.

use mcast_stream::history::LONGEST_EXPECTED;
use mcast_stream::subscriber::{Cause, SubscriberEvent, VerificationFailure};
use mcast_stream::wire::MessageNumber;
use serde::Serialize;

use crate::output::{count_of, seconds};

/// One object per event, printed between the messages before and after it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct EventRecord {
    /// Event
    event: &'static str,
    /// Time of the record (RFC 3339, UTC, with nanoseconds)
    time: String,
    #[serde(flatten)]
    fields: Option<EventFields>,
}

/// The fields of some events.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum EventFields {
    Joined {
        /// Publisher's incarnation
        incarnation: u32,
        /// Address and port of the publisher
        publisher: String,
        /// Number of the first message concerned; for a snapshot, the first message that it does not include
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        sequence: MessageNumber,
    },
    Lost {
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        sequence: MessageNumber,
        /// Number of messages concerned; for `stalled` and `forged`, number of datagrams
        count: u64,
        /// Why the messages are lost
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["unrecoverable", "deadline", "not-repaired", "restart", "unreadable", "abandoned", "publisher-gone", "not-in-history", "history-unreachable"])))]
        cause: &'static str,
    },
    Message {
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        sequence: MessageNumber,
    },
    Incarnation {
        incarnation: u32,
    },
    Count {
        count: u64,
    },
    Path {
        /// Index of the path, from 0
        path: u8,
    },
    Key {
        /// Epoch of the secret that is missing or does not match
        epoch: u16,
    },
    Continued {
        incarnation: u32,
        publisher: String,
    },
    OtherStream {
        publisher: String,
        /// ID of the ignored other stream, or of the stream that is followed from now on
        stream: String,
    },
    Stream {
        stream: String,
    },
    Queued {
        /// Address and port of the history server that serves others first
        server: String,
        /// Time until it is this subscriber's turn, as the server expects; 120 stands for longer times, too
        expected_seconds: f64,
    },
    VerificationFailure {
        /// Why datagrams were not verified
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["unsigned", "unknown-key", "wrong-signature"])))]
        reason: &'static str,
        /// Id of the key that such a datagram names: the first two bytes of the SHA-256 hash of the public key
        #[serde(skip_serializing_if = "Option::is_none")]
        signer: Option<String>,
    },
}

impl EventRecord {
    pub(crate) fn new(event: &SubscriberEvent, time: String) -> Self {
        Self { event: event.name(), time, fields: EventFields::new(event) }
    }
}

impl EventFields {
    fn new(event: &SubscriberEvent) -> Option<Self> {
        Some(match *event {
            SubscriberEvent::Joined { incarnation, publisher, message } => Self::Joined {
                incarnation: incarnation.0,
                publisher: publisher.to_string(),
                sequence: message,
            },
            SubscriberEvent::Lost { first, end, cause } => {
                Self::Lost { sequence: first, count: end.ahead_of(first), cause: cause.name() }
            }
            SubscriberEvent::LostUnknown { first: sequence }
            | SubscriberEvent::HistoryWaiting { first: Some(sequence) }
            | SubscriberEvent::HistoryFailed { first: Some(sequence) }
            | SubscriberEvent::SnapshotWanted { message: sequence } => Self::Message { sequence },
            SubscriberEvent::Restarted { to: incarnation, .. }
            | SubscriberEvent::SecondPublisher { ignored: incarnation, .. } => {
                Self::Incarnation { incarnation: incarnation.0 }
            }
            SubscriberEvent::Continued { to, publisher, .. } => {
                Self::Continued { incarnation: to.0, publisher: publisher.to_string() }
            }
            SubscriberEvent::Ended { messages: count } | SubscriberEvent::Stalled { waiting: count, .. } => {
                Self::Count { count }
            }
            SubscriberEvent::PathSilent(path) | SubscriberEvent::PathBack(path) => Self::Path { path },
            SubscriberEvent::KeyMissing(epoch) | SubscriberEvent::KeyWrong(epoch) => {
                Self::Key { epoch: epoch.0 }
            }
            SubscriberEvent::Forged { datagrams: count } => Self::Count { count },
            SubscriberEvent::NotVerified(distrust) => Self::VerificationFailure {
                reason: distrust.name(),
                signer: distrust.signer().map(|signer| signer.to_string()),
            },
            SubscriberEvent::OtherStream { stream, publisher } => {
                Self::OtherStream { publisher: publisher.to_string(), stream: stream.to_string() }
            }
            SubscriberEvent::StreamChanged { to, .. } => Self::Stream { stream: to.to_string() },
            SubscriberEvent::HistoryQueued { server, expected } => {
                Self::Queued { server: server.to_string(), expected_seconds: expected.as_secs_f64() }
            }
            _ => return None,
        })
    }
}

/// Returns a cause as text.
const fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Unrecoverable => {
            "they have left the publisher's retransmission buffer (its --history enlarges it)"
        }
        Cause::Deadline => "they were not repaired in time",
        Cause::NotRepaired => "no repair was requested",
        Cause::Restart => "the publisher was restarted and no longer has them",
        Cause::Unreadable => {
            "they cannot be read: they are too long or damaged, or the log that has them no longer has their secret"
        }
        Cause::Abandoned => "they were not delivered before this subscriber ended",
        Cause::PublisherGone => "the publisher is gone",
        Cause::NotInHistory => "the publisher no longer retains them, and no history has them",
        Cause::HistoryUnreachable => {
            "the publisher no longer retains them, and no history server could be reached that might have them"
        }
        _ => "they could not be repaired",
    }
}

/// Returns why datagrams are ignored that should be signed, as text.
fn why_not_verified(failure: VerificationFailure) -> String {
    match failure {
        VerificationFailure::Unsigned => {
            "ignoring datagrams that no trusted key has signed: check that the publisher signs \
             (--sign), and with the key that --signed-by names"
                .into()
        }
        VerificationFailure::UnknownKey(id) => format!(
            "ignoring datagrams of a key that is not trusted (id {id}): add its public key to the file of --signed-by, \
             and send SIGHUP to this process, if it is the publisher's"
        ),
        VerificationFailure::WrongSignature(id) => {
            format!("ignoring datagrams whose signature is wrong (key id {id}): they are forged")
        }
        other => format!("ignoring datagrams that no trusted key has verified: {}", other.name()),
    }
}

/// How important an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    Warning,
    Note,
    Detail,
}

/// Returns an event as text, with its importance. `has_key_file`: the subscriber rereads its key file after SIGHUP, which
/// would end it otherwise.
pub(crate) fn describe(event: &SubscriberEvent, has_key_file: bool) -> (Importance, String) {
    match *event {
        SubscriberEvent::Joined { publisher, message, .. } => {
            (Importance::Note, format!("subscribed to {}, starting with message {message}", publisher.ip()))
        }
        SubscriberEvent::Lost { first, end, cause } => {
            let lost = count_of(end.ahead_of(first), "message");
            (Importance::Warning, format!("lost {lost}, starting with {first}: {}", why(cause)))
        }
        SubscriberEvent::LostUnknown { first } => {
            let text = format!(
                "an unknown number of messages may be lost, starting with {first}: the publisher was gone before it \
                 reported how many there are"
            );
            (Importance::Warning, text)
        }
        SubscriberEvent::HistoryQueued { server, expected } => {
            let time = match expected < LONGEST_EXPECTED {
                true => format!("in {}", seconds(expected)),
                false => format!("in {} or more", seconds(expected)),
            };
            let text = format!("the history server {server} serves others first; asking it again {time}");
            (Importance::Note, text)
        }
        SubscriberEvent::HistoryWaiting { .. } => (
            Importance::Warning,
            "no history server answers; still waiting for messages that the publisher no longer retains".into(),
        ),
        SubscriberEvent::HistoryFailed { .. } => (
            Importance::Warning,
            "no history could be read, so that messages that the publisher no longer retains are lost".into(),
        ),
        SubscriberEvent::Restarted { .. } => (Importance::Note, "the publisher has restarted".into()),
        SubscriberEvent::Continued { publisher, .. } => {
            (Importance::Note, format!("{} continues the stream", publisher.ip()))
        }
        SubscriberEvent::Ended { messages } => {
            (Importance::Note, format!("the stream has ended after {}", count_of(messages, "message")))
        }
        SubscriberEvent::Stalled { waiting, .. } => (
            Importance::Note,
            format!("waiting for a repair; {} are buffered behind it", count_of(waiting, "datagram")),
        ),
        SubscriberEvent::PathSilent(path) => (Importance::Warning, format!("path {} is silent", path + 1)),
        SubscriberEvent::PathBack(path) => (Importance::Note, format!("path {} is back", path + 1)),
        SubscriberEvent::PublisherSilent => (Importance::Warning, "the publisher has gone silent".into()),
        SubscriberEvent::PublisherBack => (Importance::Note, "the publisher is back".into()),
        SubscriberEvent::InternalError(what) => {
            (Importance::Warning, format!("a bug in this program: {what}; please report it"))
        }
        SubscriberEvent::Evicted => (
            Importance::Warning,
            "evicted by the publisher: too slow, or the group no longer arrives here (`mcast doctor` finds out)".into(),
        ),
        SubscriberEvent::KeyMissing(epoch) => {
            let remedy = match has_key_file {
                true => "add it to the file of --key, and send SIGHUP to this process",
                false => "start the command again with --key FILE",
            };
            let text = format!("sealed with the secret of epoch {epoch}, which is missing here: {remedy}");
            (Importance::Warning, text)
        }
        SubscriberEvent::Stale => {
            let text = "ignoring a publisher whose clock differs from this machine's by more than 2 minutes (possible \
                        replay): set both clocks";
            (Importance::Warning, text.into())
        }
        SubscriberEvent::KeyWrong(epoch) => (
            Importance::Warning,
            format!("not sealed with the secret of epoch {epoch} that is known here: the key files differ, \
                or the datagrams are forged"),
        ),
        SubscriberEvent::Signed => (
            Importance::Note,
            "the stream is signed, which is not verified: see --signed-by".into(),
        ),
        SubscriberEvent::NotVerified(distrust) => (Importance::Warning, why_not_verified(distrust)),
        SubscriberEvent::Forged { datagrams } => (
            Importance::Warning,
            format!("discarded {}, which the publisher did not sign: a member of the group forges its stream",
                count_of(datagrams, "datagram")),
        ),
        SubscriberEvent::Full => (
            Importance::Warning,
            "the publisher has too many subscribers: it repairs nothing for this one and does not wait for it".into(),
        ),
        SubscriberEvent::SecondPublisher { followed, ignored } => (
            Importance::Warning,
            format!("another publisher of this stream, incarnation {ignored}, is ignored beside incarnation {followed}: its clock was set back (see publish --state), or two publish under one name"),
        ),
        SubscriberEvent::OtherStream { stream, publisher } => {
            let text = format!(
                "ignoring stream {stream} of {}, which is published here, too: select a stream with --name \
                 or by its announced name",
                publisher.ip()
            );
            (Importance::Warning, text)
        }
        SubscriberEvent::StreamChanged { from, to } => {
            let text = format!("stream {from} is silent or has ended: following stream {to} from now on");
            (Importance::Warning, text)
        }
        SubscriberEvent::SnapshotWanted { message } => {
            (Importance::Detail, format!("requesting a snapshot up to message {message}"))
        }
        _ => (Importance::Detail, format!("{event:?}")),
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{Incarnation, KeyEpoch, Sequence, SignerId, StreamId};

    use super::*;

    #[test]
    fn the_schema_names_every_event_and_cause() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../schemas/stream-event.json")).unwrap();
        let lost = |cause| SubscriberEvent::Lost { first: MessageNumber(1), end: MessageNumber(3), cause };
        let events = [
            SubscriberEvent::Joined {
                incarnation: Incarnation(1),
                publisher: ([10, 0, 0, 1], 7).into(),
                message: MessageNumber(2),
            },
            lost(Cause::Unrecoverable),
            lost(Cause::Deadline),
            lost(Cause::NotRepaired),
            lost(Cause::Restart),
            lost(Cause::Unreadable),
            SubscriberEvent::SnapshotWanted { message: MessageNumber(1) },
            SubscriberEvent::Restarted { from: Incarnation(1), to: Incarnation(2) },
            SubscriberEvent::Continued {
                from: Incarnation(1),
                to: Incarnation(2),
                publisher: ([10, 0, 0, 1], 7).into(),
            },
            SubscriberEvent::Ended { messages: 3 },
            SubscriberEvent::Stalled { datagram: Sequence(1), waiting: 2 },
            SubscriberEvent::PathSilent(0),
            SubscriberEvent::PathBack(0),
            SubscriberEvent::PublisherSilent,
            SubscriberEvent::PublisherBack,
            SubscriberEvent::Evicted,
            SubscriberEvent::InternalError("a state that cannot happen"),
            SubscriberEvent::KeyMissing(KeyEpoch(1)),
            SubscriberEvent::Stale,
            lost(Cause::Abandoned),
            lost(Cause::PublisherGone),
            SubscriberEvent::LostUnknown { first: MessageNumber(7) },
            SubscriberEvent::Full,
            SubscriberEvent::SecondPublisher { followed: Incarnation(2), ignored: Incarnation(1) },
            SubscriberEvent::KeyWrong(KeyEpoch(1)),
            SubscriberEvent::OtherStream { stream: StreamId(1), publisher: ([10, 0, 0, 1], 7).into() },
            SubscriberEvent::StreamChanged { from: StreamId(1), to: StreamId(2) },
            SubscriberEvent::Signed,
            SubscriberEvent::NotVerified(VerificationFailure::UnknownKey(SignerId(7))),
            SubscriberEvent::Forged { datagrams: 3 },
            lost(Cause::HistoryUnreachable),
            SubscriberEvent::HistoryWaiting { first: Some(MessageNumber(4)) },
            SubscriberEvent::HistoryFailed { first: Some(MessageNumber(4)) },
            SubscriberEvent::HistoryQueued {
                server: ([10, 0, 0, 1], 7).into(),
                expected: std::time::Duration::from_secs(1),
            },
        ];
        for event in events {
            let record = serde_json::to_value(EventRecord::new(&event, String::new())).unwrap();
            for field in record.as_object().unwrap().keys() {
                assert!(schema["properties"].get(field).is_some(), "{field} is not in the schema");
            }
            for field in ["event", "cause"] {
                let Some(name) = record.get(field) else { continue };
                let known = schema["properties"][field]["enum"].as_array().unwrap();
                assert!(known.contains(name), "{name} is not a {field} in the schema");
            }
            assert!(!describe(&event, true).1.is_empty());
        }
    }

    #[test]
    fn a_subscriber_without_a_key_file_is_not_to_be_sent_a_signal_that_ends_it() {
        let missing = SubscriberEvent::KeyMissing(KeyEpoch(1));
        assert!(describe(&missing, true).1.ends_with("send SIGHUP to this process"));
        assert!(describe(&missing, false).1.ends_with("start the command again with --key FILE"));
    }
}
