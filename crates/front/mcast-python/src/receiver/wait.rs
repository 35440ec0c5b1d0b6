//! Waiting without the GIL while checking for signals.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::open::Open;
use crate::error::{OrRaise, value_error};

/// How often to check for signals that do not interrupt the wait: on Windows, and where another thread received the
/// signal.
const SLICE: Duration = Duration::from_millis(if cfg!(windows) { 50 } else { 500 });

/// A timeout, or none. The deadline is computed only once nothing is available, to save reading the clock.
#[derive(Clone, Copy)]
pub(crate) struct Timeout(Option<Duration>);

impl Timeout {
    /// No timeout.
    pub(super) const NEVER: Self = Self(None);

    /// Converts seconds, or None for no timeout.
    pub(crate) fn new(seconds: Option<f64>) -> PyResult<Self> {
        let Some(seconds) = seconds else { return Ok(Self(None)) };
        if seconds.is_nan() || seconds < 0.0 {
            return Err(value_error("a timeout must be zero or a positive number of seconds, or None"));
        }
        // Wait without a timeout if it is too long for the clock.
        Ok(Self(Duration::try_from_secs_f64(seconds).ok()))
    }

    /// Returns the duration, or `None` without a timeout.
    pub(crate) fn duration(self) -> Option<Duration> {
        self.0
    }

    /// Returns the deadline for a wait that starts now.
    pub(crate) fn deadline(self) -> Option<Instant> {
        Instant::now().checked_add(self.0?)
    }
}

/// Repeats `attempt` until it returns a value; returns `None` after the timeout.
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
        let is_last = !wait_slice(py, open, deadline)? && is_over(deadline);
        let result = attempt(py)?;
        if is_last || result.is_some() {
            return Ok(result);
        }
    }
}

/// Waits until a datagram may be available; returns `false` after the timeout.
pub(super) fn until_ready(py: Python<'_>, open: &Open, timeout: Timeout) -> PyResult<bool> {
    let deadline = timeout.deadline();
    loop {
        if wait_slice(py, open, deadline)? {
            return Ok(true);
        }
        if is_over(deadline) {
            return Ok(false);
        }
    }
}

/// Waits until a datagram may be available, the deadline, or the next check for signals.
fn wait_slice(py: Python<'_>, open: &Open, deadline: Option<Instant>) -> PyResult<bool> {
    let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
    let ready = py.detach(|| open.receiver.wait(Some(left.min(SLICE)))).or_raise(py)?;
    py.check_signals()?;
    Ok(ready)
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
