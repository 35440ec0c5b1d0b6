//! Which subscribers must acknowledge messages, and what each has acknowledged.

use mcast_stream::publisher::{AckLevel, Acknowledgers, Quorum, QuorumLoss, Watermarks};
use mcast_stream::wire::SubscriberName;
use pyo3::prelude::*;

use crate::error::value_error;

/// The subscribers that must acknowledge messages, as Python names them: a number, "all", a name, or several names.
#[derive(FromPyObject)]
pub(super) enum AckBy {
    Count(usize),
    Name(String),
    Names(Vec<String>),
}

impl AckBy {
    /// Returns the quorum.
    pub(super) fn quorum(self, when: &str, lost: &str) -> PyResult<Quorum> {
        let acknowledgers = match self {
            Self::Count(0) => return Err(value_error("ack must be at least 1")),
            Self::Count(count) => Acknowledgers::Count(count),
            Self::Name(name) if name == "all" => Acknowledgers::All,
            Self::Name(name) => Acknowledgers::Named(vec![subscriber_name(&name)?]),
            Self::Names(names) => {
                Acknowledgers::Named(names.iter().map(|name| subscriber_name(name)).collect::<PyResult<_>>()?)
            }
        };
        let level = match when {
            "received" => AckLevel::Received,
            "processed" => AckLevel::Processed,
            _ => {
                return Err(value_error(format_args!(
                    "{when:?} is not a value of ack_when: use received or processed"
                )));
            }
        };
        let on_loss = match lost {
            "block" => QuorumLoss::Block,
            "report" => QuorumLoss::Report,
            _ => {
                return Err(value_error(format_args!(
                    "{lost:?} is not a value of ack_lost: use block or report"
                )));
            }
        };
        Ok(Quorum { acknowledgers, level, on_loss })
    }
}

pub(super) fn subscriber_name(name: &str) -> PyResult<SubscriberName> {
    name.parse().map_err(|error| value_error(format_args!("{name:?}: {error}")))
}

/// What a subscriber has acknowledged.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// The id of the subscriber.
    subscriber: u64,
    /// The name that it claims, if any: only the group's keys restrict who can claim it.
    name: Option<String>,
    /// Its address, as "ADDRESS:PORT".
    address: String,
    /// "present", "evicted" (too slow), "left", "failed" (left because of an error) or "silent".
    presence: &'static str,
    /// The number of the first message that it acknowledges: the first after its last loss.
    since: u64,
    /// The number of the first message after those that its application was given.
    received: u64,
    /// The number of the first message after those that its application has processed.
    processed: u64,
    /// The number of messages that were published after those that it has received.
    missing: u64,
    /// The number of messages that it has lost.
    lost: u64,
}

impl From<&Watermarks> for Watermark {
    fn from(known: &Watermarks) -> Self {
        Self {
            subscriber: known.subscriber.0,
            name: known.name.map(|name| name.to_string()),
            address: known.address.to_string(),
            presence: known.presence.name(),
            since: known.since.0,
            received: known.received.0,
            processed: known.processed.0,
            missing: known.missing,
            lost: known.lost,
        }
    }
}

#[pymethods]
impl Watermark {
    fn __repr__(&self) -> String {
        let Self { name, address, presence, since, received, processed, missing, .. } = self;
        let name = name.as_deref().unwrap_or(address);
        format!(
            "<Watermark of {name}, {presence}: since={since} received={received} processed={processed} missing={missing}>"
        )
    }
}
