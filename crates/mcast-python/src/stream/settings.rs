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

/// What comes after a loss that nothing repairs. Who starts from a snapshot gets another one, unless told otherwise.
fn on_loss(word: Option<&str>, start: Start) -> PyResult<OnLoss> {
    match word {
        None if start == Start::Snapshot => Ok(OnLoss::Snapshot),
        None | Some("continue") => Ok(OnLoss::Continue),
        Some("snapshot") => Ok(OnLoss::Snapshot),
        Some("stop") => Ok(OnLoss::Stop),
        Some(other) => Err(refused(format_args!(
            "{other:?} is nothing to do on a loss: write continue, snapshot or stop"
        ))),
    }
}

/// What is done about gaps.
pub(super) fn policy(
    word: &str,
    deadline: Option<f64>,
    on_loss_word: Option<&str>,
    start: Start,
) -> PyResult<Policy> {
    let on_loss = on_loss(on_loss_word, start)?;
    if on_loss_word.is_some() && word != "reliable" {
        return Err(refused("on_loss goes with the policy reliable: the others go on behind what is lost"));
    }
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
