//! Streams of messages: publishers, subscribers, and the parsing of their settings.

mod audience;
mod discovery;
mod event;
mod keys;
mod publisher;
mod snapshot;
mod subscriber;

pub(crate) use audience::{Closing, PublisherEvent, PublisherStatistics, SubscriberStatistics, Watermark};
pub(crate) use discovery::{Announcements, FoundStream};
pub(crate) use event::{Message, StreamEvent, document_kinds};
pub(crate) use keys::PyKeys;
pub(crate) use publisher::Publisher;
pub(crate) use snapshot::Snapshot;
pub(crate) use subscriber::Subscriber;

use std::time::Duration;

use mcast_stream::history::HistoryStart;
use mcast_stream::publisher::{Fec, Refusal};
use mcast_stream::subscriber::{OnLoss, Policy, Start};
use mcast_stream::wire::FlowControl;
use mcast_stream::{StreamError, StreamStep, SubscriberBuilder};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{Failure, closed_error, raise, value_error};
use crate::values::{ByteRate, MessageNumber};

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
        StreamError::Io { step, cause } => {
            let operation = match step {
                StreamStep::OpenUnicast | StreamStep::ReceiveUnicast | StreamStep::Wait => "stream",
                StreamStep::ServeSnapshots(_) | StreamStep::FetchSnapshot => "snapshot",
                StreamStep::StartThread => "open",
                _ => "publish",
            };
            (operation, Some(cause))
        }
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

/// How long the best-effort policy waits for datagrams that arrive out of order.
const REORDERING_WINDOW: Duration = Duration::from_millis(1);

/// Where a subscriber starts.
#[derive(Clone, Copy, Debug)]
enum StartAt {
    Now,
    Oldest,
    Snapshot,
    Number(mcast_stream::wire::MessageNumber),
    /// In milliseconds since 1970.
    Time(u64),
}

impl StartAt {
    const fn of_stream(self) -> Start {
        match self {
            Self::Now => Start::Now,
            Self::Snapshot => Start::Snapshot,
            Self::Oldest | Self::Number(_) | Self::Time(_) => Start::Oldest,
        }
    }

    /// Sets where a subscriber starts that verifies signatures, or does not.
    fn apply(self, builder: SubscriberBuilder, policy: Policy, is_verifying: bool) -> SubscriberBuilder {
        let builder = builder.start(self.of_stream());
        match self {
            // The latest message of each key needs no history, and a history is not signed.
            Self::Oldest if policy == Policy::Latest || is_verifying => builder,
            Self::Oldest => builder.history_from(HistoryStart::Oldest),
            Self::Number(number) => builder.history_from(HistoryStart::Number(number)),
            Self::Time(time) => builder.history_from(HistoryStart::Time(time)),
            Self::Now | Self::Snapshot => builder,
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for StartAt {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(word) = object.extract::<String>() {
            return match &*word {
                "now" => Ok(Self::Now),
                "oldest" => Ok(Self::Oldest),
                "snapshot" => Ok(Self::Snapshot),
                _ => Err(value_error(format_args!(
                    "{word:?} is not a start: use now, oldest, snapshot, the number of a message, or a datetime"
                ))),
            };
        }
        let class = object.py().import("datetime")?.getattr("datetime")?;
        if object.is_instance(&class)? {
            return time_of(object).map(Self::Time);
        }
        match object.extract::<MessageNumber>() {
            Ok(number) => Ok(Self::Number(mcast_stream::wire::MessageNumber(number.0))),
            Err(error) if error.is_instance_of::<PyTypeError>(object.py()) => {
                let class = object.get_type();
                Err(PyTypeError::new_err(format!(
                    "a start is a word, the number of a message, or a datetime, not {class}"
                )))
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the time of a datetime in milliseconds since 1970.
fn time_of(datetime: Borrowed<'_, '_, PyAny>) -> PyResult<u64> {
    if datetime.call_method0("utcoffset")?.is_none() {
        return Err(value_error(
            "a start needs a time zone: use a datetime with one, such as datetime.now(timezone.utc)",
        ));
    }
    let seconds: f64 = datetime.call_method0("timestamp")?.extract()?;
    let since = Duration::try_from_secs_f64(seconds);
    let since = since.map_err(|_| value_error("a start must not be before 1970"))?;
    u64::try_from(since.as_millis()).map_err(|_| value_error("a start is too late"))
}

/// Parses what to do after an unrecoverable loss. The default is `continue`, or `snapshot` when starting from one.
fn on_loss(word: Option<&str>, start: Start) -> PyResult<OnLoss> {
    match word {
        None if start == Start::Snapshot => Ok(OnLoss::Snapshot),
        None | Some("continue") => Ok(OnLoss::Continue),
        Some("snapshot") => Ok(OnLoss::Snapshot),
        Some("stop") => Ok(OnLoss::Stop),
        Some(other) => Err(value_error(format_args!(
            "{other:?} is not a value of on_loss: use continue, snapshot or stop"
        ))),
    }
}

/// Parses the policy for gaps.
fn policy(word: &str, deadline: Option<f64>, on_loss_word: Option<&str>, start: Start) -> PyResult<Policy> {
    let on_loss = on_loss(on_loss_word, start)?;
    if on_loss_word.is_some() && word != "reliable" {
        return Err(value_error(
            "on_loss requires policy=\"reliable\": other policies always continue after a loss",
        ));
    }
    match (word, deadline) {
        ("reliable", None) => Ok(Policy::Reliable(on_loss)),
        ("best-effort", None) => Ok(Policy::BestEffort(REORDERING_WINDOW)),
        ("latest", None) => Ok(Policy::Latest),
        ("deadline", Some(seconds)) => Ok(Policy::Deadline(time(seconds)?)),
        ("deadline", None) => {
            Err(value_error("policy=\"deadline\" requires a deadline in seconds, such as deadline=0.05"))
        }
        ("reliable" | "best-effort" | "latest", Some(_)) => {
            Err(value_error("deadline requires policy=\"deadline\""))
        }
        _ => Err(value_error(format_args!(
            "{word:?} is not a policy: use reliable, deadline, best-effort or latest"
        ))),
    }
}

fn flow(word: &str) -> PyResult<FlowControl> {
    match word {
        "slowest" => Ok(FlowControl::Slowest),
        "none" => Ok(FlowControl::None),
        "one-way" => Ok(FlowControl::OneWay),
        _ => Err(value_error(format_args!("{word:?} is not a flow control: use slowest, none or one-way"))),
    }
}

/// Forward error correction: "off", "auto", or the numbers of datagrams in a block and of symbols for it.
#[derive(FromPyObject)]
enum Correction {
    Word(String),
    Fixed(u8, u8),
}

impl Correction {
    fn fec(&self) -> PyResult<Fec> {
        match self {
            Self::Fixed(data, parity) => Ok(Fec::Fixed { data: *data, parity: *parity }),
            Self::Word(word) if word == "off" => Ok(Fec::Off),
            Self::Word(word) if word == "crowd" => Ok(Fec::Crowd),
            Self::Word(word) if word == "auto" => Ok(Fec::Auto),
            Self::Word(word) => Err(value_error(format_args!(
                "{word:?} is not a forward error correction: use \"off\", \"crowd\", \"auto\", or a pair such as (20, 4)"
            ))),
        }
    }
}

/// Converts seconds to a duration.
fn time(seconds: f64) -> PyResult<Duration> {
    let time = Duration::try_from_secs_f64(seconds);
    time.map_err(|_| value_error("a time must be zero or a positive number of seconds"))
}

/// The rate of a publisher, in bytes per second.
#[derive(Clone, Copy, Debug)]
enum StreamRate {
    Fixed(u64),
    Auto,
}

fn rate(rate: &Bound<'_, PyAny>) -> PyResult<StreamRate> {
    match rate.extract::<String>() {
        Ok(name) if name == "auto" => Ok(StreamRate::Auto),
        Ok(name) => {
            Err(value_error(format_args!("{name:?} is not a rate: use bytes per second, or \"auto\"")))
        }
        Err(_) => Ok(StreamRate::Fixed(rate.extract::<ByteRate>()?.0)),
    }
}
