//! Streams of messages: publishers and subscribers.

mod audience;
mod discovery;
mod event;
mod keys;
mod publisher;
#[cfg_attr(feature = "seal", path = "sealing.rs")]
#[cfg_attr(not(feature = "seal"), path = "no_sealing.rs")]
mod sealing;
mod settings;
mod snapshot;
mod statistics;
mod subscriber;

use mcast_stream::StreamError;
use mcast_stream::publisher::Refusal;
use pyo3::prelude::*;

use crate::error::{Failure, closed_error, raise, value_error};
pub(crate) use audience::{Closing, PublisherEvent, Watermark};
pub(crate) use discovery::{Announcements, FoundStream};
pub(crate) use event::{Message, StreamEvent};
pub(crate) use keys::PyKeys;
pub(crate) use publisher::Publisher;
pub(crate) use snapshot::Snapshot;
pub(crate) use statistics::{PublisherStatistics, SubscriberStatistics};
pub(crate) use subscriber::Subscriber;

fn raise_stream(py: Python<'_>, error: &StreamError) -> PyErr {
    let (operation, source) = match error {
        StreamError::Socket(error) => return raise(py, error),
        StreamError::Settings(_)
        | StreamError::Name(_)
        | StreamError::NoDestination
        | StreamError::AcksNotRequired
        | StreamError::HistoryOrder
        | StreamError::NotSigned
        | StreamError::NoEffect(_)
        | StreamError::TooManyPaths(_)
        | StreamError::MixedFamilies => {
            return value_error(error);
        }
        StreamError::Refused(Refusal::Closed) => return closed_error(py, "publisher"),
        StreamError::Refused(Refusal::TooLong { .. }) => {
            return failure("TooLarge", "publish", error).raise(py);
        }
        StreamError::Control(source) => ("stream", Some(source)),
        StreamError::Snapshot(source) => ("snapshot", Some(source)),
        StreamError::Thread(source) => ("open", Some(source)),
        _ => ("publish", None),
    };
    Failure { errno: source.and_then(std::io::Error::raw_os_error), ..failure("Other", operation, error) }
        .raise(py)
}

fn failure<'a>(kind: &'a str, operation: &'a str, error: &StreamError) -> Failure<'a> {
    Failure {
        kind,
        operation,
        reason: error.to_string(),
        remedy: None,
        group: None,
        interface: None,
        errno: None,
    }
}
