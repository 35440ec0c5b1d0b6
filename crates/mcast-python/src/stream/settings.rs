//! Settings of streams, as Python writes them.

use std::time::Duration;

use mcast_stream::receiver::{OnLoss, Policy, Start};
use mcast_stream::wire::FlowControl;
use pyo3::prelude::*;

use crate::error::refused;

/// How long what comes out of order is waited for where nothing is asked for: 1 ms.
const REORDERING: u64 = 1_000_000;

pub(super) fn start(word: &str) -> PyResult<Start> {
    match word {
        "now" => Ok(Start::Now),
        "oldest" => Ok(Start::Oldest),
        "snapshot" => Ok(Start::Snapshot),
        _ => Err(refused(format_args!("{word:?} is no start: write now, oldest or snapshot"))),
    }
}

/// What is done about gaps. Who starts from a snapshot gets another one after a loss.
pub(super) fn policy(word: &str, deadline: Option<f64>, start: Start) -> PyResult<Policy> {
    let on_loss = if start == Start::Snapshot { OnLoss::Snapshot } else { OnLoss::Continue };
    match (word, deadline) {
        ("reliable", None) => Ok(Policy::Reliable(on_loss)),
        ("best-effort", None) => Ok(Policy::BestEffort(REORDERING)),
        ("latest", None) => Ok(Policy::Latest),
        ("deadline", Some(seconds)) => Ok(Policy::Deadline(nanoseconds(seconds)?)),
        ("deadline", None) => Err(refused("the policy is deadline: say of how many seconds, deadline=0.05")),
        ("reliable" | "best-effort" | "latest", Some(_)) => {
            Err(refused("a deadline belongs to the policy deadline"))
        }
        _ => Err(refused(format_args!(
            "{word:?} is no policy: write reliable, deadline, best-effort or latest"
        ))),
    }
}

pub(super) fn flow(word: &str) -> PyResult<FlowControl> {
    match word {
        "slowest" => Ok(FlowControl::Slowest),
        "none" => Ok(FlowControl::None),
        _ => Err(refused(format_args!("{word:?} is no flow control: write slowest or none"))),
    }
}

/// A time in seconds.
pub(super) fn time(seconds: f64) -> PyResult<Duration> {
    let time = Duration::try_from_secs_f64(seconds);
    time.map_err(|_| refused("a time is a number of seconds, zero or more"))
}

fn nanoseconds(seconds: f64) -> PyResult<u64> {
    Ok(u64::try_from(time(seconds)?.as_nanos()).unwrap_or(u64::MAX))
}
