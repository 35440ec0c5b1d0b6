//! Events of a stream as JSON.

use std::time::SystemTime;

use mcast_json::{EventReport, FieldKind};
use mcast_stream::subscriber::{Cause, VerificationFailure};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::output::rfc3339;

/// The fields of some events, in the order in which they are written.
pub(crate) const FIELDS: [(&str, FieldKind, &str); 12] = [
    ("incarnation", FieldKind::Number, "Publisher's incarnation"),
    ("publisher", FieldKind::Text, "Address and port of the publisher"),
    (
        "sequence",
        FieldKind::Number,
        "Number of the first message concerned; for a snapshot, the first message that it does not include",
    ),
    (
        "count",
        FieldKind::Number,
        "Number of messages concerned; for `stalled` and `forged`, number of datagrams",
    ),
    ("cause", FieldKind::Name(Cause::NAMES), "Why the messages are lost"),
    ("path", FieldKind::Number, "Index of the path, from 0"),
    ("epoch", FieldKind::Number, "Epoch of the secret that is missing or does not match"),
    (
        "stream",
        FieldKind::Text,
        "ID of the ignored other stream, or of the stream that is followed from now on",
    ),
    ("server", FieldKind::Text, "Address and port of the history server that serves others first"),
    (
        "expected_seconds",
        FieldKind::Seconds,
        "Time until it is this subscriber's turn, as the server expects; 120 stands for longer times, too",
    ),
    ("reason", FieldKind::Name(VerificationFailure::NAMES), "Why datagrams were not verified"),
    (
        "signer",
        FieldKind::Text,
        "Id of the key that such a datagram names: the first two bytes of the SHA-256 hash of the public key",
    ),
];

/// One object per event, printed between the messages before and after it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct EventRecord {
    /// Event
    event: &'static str,
    /// Time of the record (RFC 3339, UTC, with nanoseconds)
    time: String,
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    fields: EventFields,
}

/// Those of [`FIELDS`] that the event has.
#[derive(Debug)]
struct EventFields(EventReport);

impl EventRecord {
    pub(crate) fn new(report: EventReport) -> Self {
        Self { event: report.name, time: rfc3339(SystemTime::now()), fields: EventFields(report) }
    }
}

impl Serialize for EventFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (field, _, _) in FIELDS {
            if let Some(value) = self.0.field(field) {
                object.serialize_entry(field, value)?;
            }
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::history::LONGEST_EXPECTED;
    use mcast_stream::subscriber::SubscriberEvent;

    use super::*;

    #[test]
    fn every_field_of_an_event_is_written() {
        for event in SubscriberEvent::declared() {
            for field in event.fields {
                assert!(
                    FIELDS.iter().any(|(known, _, _)| known == field),
                    "{field} of {} is not written",
                    event.name
                );
            }
        }
    }

    #[test]
    fn a_subscriber_without_a_key_file_is_not_to_be_sent_a_signal_that_ends_it() {
        let missing = SubscriberEvent::KeyMissing(mcast_stream::wire::KeyEpoch(1));
        assert!(missing.report(true).text.ends_with("send SIGHUP to this process"));
        assert!(missing.report(false).text.ends_with("start the command again with --key FILE"));
    }

    #[test]
    fn the_longest_wait_for_a_history_may_be_longer() {
        let text = |expected| {
            let server = ([10, 0, 0, 1], 7).into();
            SubscriberEvent::HistoryQueued { server, expected }.report(true).text
        };
        let second = std::time::Duration::from_secs(1);
        assert!(text(LONGEST_EXPECTED).ends_with("again in 60 s or more"));
        assert!(text(LONGEST_EXPECTED - second).ends_with("again in 59 s"));
    }

    #[test]
    fn an_event_has_the_fields_that_apply_to_it() {
        let event = SubscriberEvent::HistoryQueued {
            server: ([10, 0, 0, 1], 7).into(),
            expected: std::time::Duration::from_secs(1),
        };
        let record = EventRecord { time: "T".to_owned(), ..EventRecord::new(event.report(true)) };
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"event":"history-queued","time":"T","server":"10.0.0.1:7","expected_seconds":1.0}"#
        );
    }
}
