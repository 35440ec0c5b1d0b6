//! Waiting without Python's lock, and with an ear for Ctrl-C.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::open::Open;
use crate::error::{OrRaise, refused};

/// How long to wait before looking for signals where none ends the wait by itself: on Windows,
/// and where the system handed the signal to another thread.
const SLICE: Duration = Duration::from_millis(if cfg!(windows) { 50 } else { 500 });

/// How long to wait: for ever, or so long. The clock is read only once there is nothing to receive.
#[derive(Clone, Copy)]
pub(crate) struct Timeout(Option<Duration>);

impl Timeout {
    /// For ever.
    pub(super) const NEVER: Self = Self(None);

    /// From seconds, or none.
    pub(crate) fn new(seconds: Option<f64>) -> PyResult<Self> {
        let Some(seconds) = seconds else { return Ok(Self(None)) };
        if seconds.is_nan() || seconds < 0.0 {
            return Err(refused("a timeout is a number of seconds, zero or more, or None"));
        }
        // What is too long for the clock is for ever.
        Ok(Self(Duration::try_from_secs_f64(seconds).ok()))
    }

    /// How long it is; `None` for ever.
    pub(crate) fn duration(self) -> Option<Duration> {
        self.0
    }

    /// When it is over, if it begins now.
    pub(crate) fn deadline(self) -> Option<Instant> {
        Instant::now().checked_add(self.0?)
    }
}

/// Tries until there is something; `None` when the time is over.
pub(super) fn until<T>(
    py: Python<'_>,
    open: &Open,
    timeout: Timeout,
    mut attempt: impl FnMut(Python<'_>) -> PyResult<Option<T>>,
) -> PyResult<Option<T>> {
    if let Some(result) = attempt(py)? {
        return Ok(Some(result));
    }
    let deadline = timeout.deadline();
    loop {
        let is_last = !slice(py, open, deadline)? && is_over(deadline);
        let result = attempt(py)?;
        if is_last || result.is_some() {
            return Ok(result);
        }
    }
}

/// Waits until something may be there; `false` when the time is over.
pub(super) fn for_something(py: Python<'_>, open: &Open, timeout: Timeout) -> PyResult<bool> {
    let deadline = timeout.deadline();
    loop {
        if slice(py, open, deadline)? {
            return Ok(true);
        }
        if is_over(deadline) {
            return Ok(false);
        }
    }
}

fn slice(py: Python<'_>, open: &Open, deadline: Option<Instant>) -> PyResult<bool> {
    let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
    let ready = py.detach(|| open.receiver.wait(Some(left.min(SLICE)))).or_raise(py)?;
    py.check_signals()?;
    Ok(ready)
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
