//! Waiting without Python's lock, and with an ear for Ctrl-C.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::open::Open;
use crate::error::OrRaise;

/// How long to wait before looking for signals where none ends the wait by itself: on Windows,
/// and where the system handed the signal to another thread.
const SLICE: Duration = Duration::from_millis(if cfg!(windows) { 50 } else { 500 });

/// Tries until there is something; `None` when the time is over.
pub(super) fn until<T>(
    py: Python<'_>,
    open: &Open,
    deadline: Option<Instant>,
    mut attempt: impl FnMut(Python<'_>) -> PyResult<Option<T>>,
) -> PyResult<Option<T>> {
    loop {
        if let Some(result) = attempt(py)? {
            return Ok(Some(result));
        }
        if !slice(py, open, deadline)? && is_over(deadline) {
            // Something may have come in the last moment.
            return attempt(py);
        }
    }
}

/// Waits until something may be there; `false` when the time is over.
pub(super) fn for_something(py: Python<'_>, open: &Open, deadline: Option<Instant>) -> PyResult<bool> {
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
