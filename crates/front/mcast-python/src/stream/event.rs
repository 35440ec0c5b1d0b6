//! The items that a subscriber returns: messages and events.

use mcast_stream::subscriber::{Item, Position, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A message of a stream.
#[pyclass(frozen, get_all, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Message {
    /// The payload.
    payload: Py<PyBytes>,
    /// Its number: consecutive from 0 within an incarnation of the publisher.
    number: u64,
    /// Its key, an integer, if the publisher gave one.
    key: Option<u64>,
    /// The incarnation of its publisher; if that reads its messages from an engine, the incarnation that they have
    /// there.
    incarnation: u32,
}

impl Message {
    pub(super) const fn position(&self) -> Position {
        Position::new(Incarnation(self.incarnation), MessageNumber(self.number))
    }
}

#[pymethods]
impl Message {
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Message {}: {} bytes>", self.number, self.payload.as_bytes(py).len())
    }
}

/// An event of a stream, delivered in order with the messages; str() describes it.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamEvent {
    /// "joined" (messages follow, starting with `message`), "lost" (messages from `message` up to but not including
    /// `end` are lost, because of `cause`), "lost-unknown" (an unknown number of messages from `message` on may be
    /// lost, because the publisher's previous incarnation did not end its stream), "snapshot-wanted" (the subscriber
    /// needs a snapshot that includes all messages before `message`), "restarted" (the publisher restarted as
    /// `incarnation`, and numbers messages from 0 again), "continued" (another publisher, with `incarnation`, continues
    /// the stream for the former one), "ended" (after `message` messages), "stalled" (delivery waits
    /// for a gap), "path-silent", "path-back", "publisher-silent", "publisher-back", "internal-error" (a bug: please report it), "evicted" (this subscriber was too slow
    /// for the publisher), "full" (the publisher accepts no more subscribers), "rival" (ignoring another publisher of
    /// the stream, with `incarnation`), "key-missing" (the key of `epoch`), "key-wrong" (datagrams name the key of
    /// `epoch` but were not sealed with it), "signed" (the stream is signed, which is not verified: see signed_by),
    /// "not-verified" (ignoring datagrams that no key in signed_by has signed, because of `cause`), "forged" (`count`
    /// datagrams were discarded that the publisher did not sign), "other-stream" (ignoring another stream on the group,
    /// from `sender`), "stream-changed" (the followed stream is silent or has ended, and another one is followed), "stale"
    /// (ignoring a publisher whose clock is off by minutes), "history-queued" (waiting for the history server `server`,
    /// which serves others first, for about `expected` seconds), "history-waiting" (no history server answers; what only
    /// a history has is still awaited), or "history-failed" (no history server can be used; what only a history has is
    /// lost).
    kind: &'static str,
    /// The number of a message, or the number of messages.
    message: Option<u64>,
    /// Of "lost": the number after the last lost message.
    end: Option<u64>,
    /// Of "lost": "unrecoverable", "deadline", "not-repaired", "restart", "unreadable", "abandoned",
    /// "publisher-gone", "not-in-history" or "history-unreachable". Of "not-verified": "unsigned", "unknown-key" or "wrong-signature".
    cause: Option<&'static str>,
    /// The incarnation of the publisher.
    incarnation: Option<u32>,
    /// Of "joined", "continued" and "other-stream": the publisher's source address, as "ADDRESS:PORT".
    sender: Option<String>,
    /// The path, counted from 0.
    path: Option<u8>,
    /// The epoch of the key that is missing or wrong.
    epoch: Option<u16>,
    /// Of "not-verified": the id of the key that datagrams name, four hexadecimal digits; None if they are not signed.
    signer: Option<String>,
    /// Of "forged": the number of datagrams.
    count: Option<u64>,
    /// Of "history-queued": the server, as "ADDRESS:PORT".
    server: Option<String>,
    /// Of "history-queued": the seconds after which the server expects this subscriber back; at most 60.
    expected: Option<f64>,
}

#[pymethods]
impl StreamEvent {
    fn __str__(&self) -> String {
        let details = [
            self.message.map(|number| format!("message {number}")),
            self.end.map(|number| format!("end {number}")),
            self.cause.map(str::to_owned),
            self.incarnation.map(|number| format!("incarnation {number}")),
            self.sender.as_ref().map(|address| format!("sender {address}")),
            self.path.map(|number| format!("path {number}")),
            self.epoch.map(|number| format!("epoch {number}")),
            self.signer.as_ref().map(|id| format!("key id {id}")),
            self.count.map(|number| format!("{number} datagrams")),
            self.server.as_ref().map(|address| format!("server {address}")),
            self.expected.map(|seconds| format!("expected in {seconds} s")),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        match details.is_empty() {
            true => self.kind.to_owned(),
            false => format!("{}: {}", self.kind, details.join(", ")),
        }
    }

    fn __repr__(&self) -> String {
        format!("<StreamEvent {}>", self.__str__())
    }
}

impl From<&SubscriberEvent> for StreamEvent {
    fn from(event: &SubscriberEvent) -> Self {
        let plain = Self {
            kind: event.name(),
            message: None,
            end: None,
            cause: None,
            incarnation: None,
            sender: None,
            path: None,
            epoch: None,
            signer: None,
            count: None,
            server: None,
            expected: None,
        };
        match *event {
            SubscriberEvent::Joined { incarnation, publisher, message } => Self {
                message: Some(message.0),
                incarnation: Some(incarnation.0),
                sender: Some(publisher.to_string()),
                ..plain
            },
            SubscriberEvent::Lost { first, end, cause } => {
                Self { message: Some(first.0), end: Some(end.0), cause: Some(cause.name()), ..plain }
            }
            SubscriberEvent::SnapshotWanted { message } => Self { message: Some(message.0), ..plain },
            SubscriberEvent::Restarted { to, .. } => Self { incarnation: Some(to.0), ..plain },
            SubscriberEvent::Continued { to, publisher, .. } => {
                Self { incarnation: Some(to.0), sender: Some(publisher.to_string()), ..plain }
            }
            SubscriberEvent::Ended { messages } => Self { message: Some(messages), ..plain },
            SubscriberEvent::PathSilent(path) | SubscriberEvent::PathBack(path) => {
                Self { path: Some(path), ..plain }
            }
            SubscriberEvent::LostUnknown { first } => Self { message: Some(first.0), ..plain },
            SubscriberEvent::SecondPublisher { ignored, .. } => {
                Self { incarnation: Some(ignored.0), ..plain }
            }
            SubscriberEvent::KeyMissing(epoch) | SubscriberEvent::KeyWrong(epoch) => {
                Self { epoch: Some(epoch.0), ..plain }
            }
            SubscriberEvent::NotVerified(distrust) => Self {
                cause: Some(distrust.name()),
                signer: distrust.signer().map(|signer| signer.to_string()),
                ..plain
            },
            SubscriberEvent::Forged { datagrams } => Self { count: Some(datagrams), ..plain },
            SubscriberEvent::OtherStream { publisher, .. } => {
                Self { sender: Some(publisher.to_string()), ..plain }
            }
            SubscriberEvent::HistoryQueued { server, expected } => {
                Self { server: Some(server.to_string()), expected: Some(expected.as_secs_f64()), ..plain }
            }
            _ => plain,
        }
    }
}

/// Converts an item to a `Message` or a `StreamEvent`.
pub(super) fn item_to_python(py: Python<'_>, item: &Item<'_>) -> PyResult<Py<PyAny>> {
    match item {
        Item::Message(message) => {
            let payload = PyBytes::new(py, message.bytes).unbind();
            Message {
                payload,
                number: message.number.0,
                key: message.key.map(|key| key.0),
                incarnation: message.incarnation.0,
            }
            .into_py_any(py)
        }
        Item::Event(event) => StreamEvent::from(event).into_py_any(py),
    }
}
