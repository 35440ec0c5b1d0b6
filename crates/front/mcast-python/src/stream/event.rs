//! The items that a subscriber returns: messages and events.

use mcast_metrics::{EventDeclaration, EventValue};
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
    // `document_kinds` documents it.
    kind: &'static str,
    /// The number of a message, or the number of messages.
    message: Option<u64>,
    /// Of "lost": the number after the last lost message.
    end: Option<u64>,
    /// Of "lost": "unrecoverable", "deadline", "not-repaired", "restart", "unreadable", "abandoned",
    /// "publisher-gone", "not-in-history" or "history-unreachable". Of "not-verified": "unsigned", "unknown-key" or "wrong-signature".
    cause: Option<String>,
    /// The incarnation of the publisher.
    incarnation: Option<u64>,
    /// Of "joined", "continued" and "other-stream": the publisher's source address, as "ADDRESS:PORT".
    sender: Option<String>,
    /// The path, counted from 0.
    path: Option<u64>,
    /// The epoch of the key that is missing or wrong.
    epoch: Option<u64>,
    /// Of "not-verified": the id of the key that datagrams name, four hexadecimal digits; None if they are not signed.
    signer: Option<String>,
    /// Of "forged" and "stalled": the number of datagrams.
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
            self.cause.clone(),
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
        let report = event.report(false);
        let (number, text) = (|field| report.number_of(field), |field| report.text_of(field));
        let (message, end, count) = match (event, number("sequence"), number("count")) {
            (SubscriberEvent::Ended { .. }, _, messages) => (messages, None, None),
            (_, Some(first), messages) => (Some(first), messages.map(|messages| first + messages), None),
            (_, None, count) => (None, None, count),
        };
        Self {
            kind: report.name,
            message,
            end,
            cause: text("cause").or_else(|| text("reason")),
            incarnation: number("incarnation"),
            sender: text("publisher"),
            path: number("path"),
            epoch: number("epoch"),
            signer: text("signer"),
            count,
            server: text("server"),
            expected: match report.field("expected_seconds") {
                Some(EventValue::Time(time)) => Some(time.as_secs_f64()),
                _ => None,
            },
        }
    }
}

/// Documents the attribute `kind` of a class of events: all kinds, as the library declares them.
pub(crate) fn document_kinds<Class: pyo3::PyClass>(
    py: Python<'_>,
    declared: &[EventDeclaration],
) -> PyResult<()> {
    let class = py.get_type::<Class>();
    let kinds = declared.iter().map(|event| format!("\n\"{}\": {}", event.name, event.meaning));
    let kinds = format!("The kind of event:{}", kinds.collect::<String>());
    let get = class.getattr("kind")?.getattr("__get__")?;
    let property = py.import("builtins")?.getattr("property")?;
    class.setattr("kind", property.call1((get, py.None(), py.None(), kinds))?)
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
