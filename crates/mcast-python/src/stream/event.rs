//! What a subscriber hands out: messages, and what happened between them.

use mcast_stream::receiver::{Event, Item};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A message of a stream.
#[pyclass(frozen, get_all, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Message {
    /// The bytes.
    payload: Py<PyBytes>,
    /// Its number, from 0 on, without gaps, in the life of its publisher.
    number: u64,
    /// What it is about, if its publisher told: an integer.
    key: Option<u64>,
}

#[pymethods]
impl Message {
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Message {}: {} bytes>", self.number, self.payload.as_bytes(py).len())
    }
}

/// What happened to a stream, told between the messages between which it happened; str() says it in words.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamEvent {
    /// "joined" (messages follow from `message` on), "lost" (those from `message` to before `end` will not
    /// come, for `cause`), "lost-unknown" (an unknown number of messages from `message` on may be lost: the
    /// publisher's former life did not end its stream), "snapshot-wanted" (one that has all messages before `message`), "restarted" (the
    /// publisher, as `incarnation`: messages are numbered from 0 again), "ended" (after `message` messages),
    /// "stalled" (a gap holds up everything), "path-silent", "path-back", "sender-silent", "sender-back",
    /// "evicted" (the publisher no longer waits for this subscriber), "full" (it takes no more subscribers),
    /// "rival" (another publisher of the stream is ignored; its life is `incarnation`), "key-missing" (the
    /// secret of `epoch`), "key-wrong" (datagrams name the secret of `epoch` and were not sealed with it), or
    /// "stale" (a publisher whose clock differs by minutes is not believed).
    kind: &'static str,
    /// The message that it is about, or how many there were.
    message: Option<u64>,
    /// Of "lost": behind the last message.
    end: Option<u64>,
    /// Of "lost": "unrecoverable", "deadline", "not-repaired", "restart", "unreadable", "abandoned" or
    /// "sender-gone".
    cause: Option<&'static str>,
    /// The life of the publisher.
    incarnation: Option<u32>,
    /// Of "joined": where the publisher sends from, as "ADDRESS:PORT".
    sender: Option<String>,
    /// Which path, from 0 on.
    path: Option<u8>,
    /// Which secret is missing or wrong.
    epoch: Option<u16>,
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

impl From<&Event> for StreamEvent {
    fn from(event: &Event) -> Self {
        let told = Self {
            kind: event.name(),
            message: None,
            end: None,
            cause: None,
            incarnation: None,
            sender: None,
            path: None,
            epoch: None,
        };
        match *event {
            Event::Joined { incarnation, sender, message } => Self {
                message: Some(message),
                incarnation: Some(incarnation.0),
                sender: Some(sender.to_string()),
                ..told
            },
            Event::Lost { first, end, cause } => {
                Self { message: Some(first), end: Some(end), cause: Some(cause.name()), ..told }
            }
            Event::SnapshotWanted { message } => Self { message: Some(message), ..told },
            Event::Restarted { to, .. } => Self { incarnation: Some(to.0), ..told },
            Event::Ended { messages } => Self { message: Some(messages), ..told },
            Event::PathSilent(path) | Event::PathBack(path) => Self { path: Some(path), ..told },
            Event::LostUnknown { first } => Self { message: Some(first), ..told },
            Event::Rival { ignored, .. } => Self { incarnation: Some(ignored.0), ..told },
            Event::KeyMissing(epoch) | Event::KeyWrong(epoch) => Self { epoch: Some(epoch.0), ..told },
            _ => told,
        }
    }
}

/// An item as Python gets it: a `Message` or a `StreamEvent`.
pub(super) fn handed_out(py: Python<'_>, item: &Item<'_>) -> PyResult<Py<PyAny>> {
    match item {
        Item::Message(message) => {
            let payload = PyBytes::new(py, message.bytes).unbind();
            Message { payload, number: message.number, key: message.key }.into_py_any(py)
        }
        Item::Event(event) => StreamEvent::from(event).into_py_any(py),
    }
}
