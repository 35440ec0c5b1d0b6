//! Parsing of stream settings.

use std::time::Duration;

use mcast_stream::Nanos;
use mcast_stream::subscriber::{OnLoss, Policy, Start};
use mcast_stream::wire::FlowControl;
use pyo3::prelude::*;

use crate::error::value_error;

/// How long the best-effort policy waits for datagrams that arrive out of order.
const REORDERING_WINDOW: Nanos = Nanos::from_millis(1);

pub(super) fn start(word: &str) -> PyResult<Start> {
    match word {
        "now" => Ok(Start::Now),
        "oldest" => Ok(Start::Oldest),
        "snapshot" => Ok(Start::Snapshot),
        _ => Err(value_error(format_args!("{word:?} is not a start: use now, oldest or snapshot"))),
    }
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
pub(super) fn policy(
    word: &str,
    deadline: Option<f64>,
    on_loss_word: Option<&str>,
    start: Start,
) -> PyResult<Policy> {
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
        ("deadline", Some(seconds)) => Ok(Policy::Deadline(time(seconds)?.into())),
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

pub(super) fn flow(word: &str) -> PyResult<FlowControl> {
    match word {
        "slowest" => Ok(FlowControl::Slowest),
        "none" => Ok(FlowControl::None),
        _ => Err(value_error(format_args!("{word:?} is not a flow control: use slowest or none"))),
    }
}

/// Converts seconds to a duration.
pub(super) fn time(seconds: f64) -> PyResult<Duration> {
    let time = Duration::try_from_secs_f64(seconds);
    time.map_err(|_| value_error("a time must be zero or a positive number of seconds"))
}
