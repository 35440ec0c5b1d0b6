//! Time limits for the other side of a connection, and cancellation by the caller.

use std::io;
use std::time::{Duration, Instant};

/// How often a wait asks the caller whether to continue.
pub(in crate::driver) const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A time limit, for each step or for all steps together, with a callback by which the caller can cancel.
pub(in crate::driver) struct StepDeadline<'p> {
    limit: Duration,
    /// When all steps together must be done; `None` if the limit is for each step.
    end: Option<Instant>,
    keep_going: Box<dyn FnMut() -> bool + 'p>,
    checked_at: Instant,
    deadline: Instant,
}

impl<'p> StepDeadline<'p> {
    pub(in crate::driver) fn new(limit: Duration, keep_going: impl FnMut() -> bool + 'p) -> Self {
        let now = Instant::now();
        Self { limit, end: None, keep_going: Box::new(keep_going), checked_at: now, deadline: now + limit }
    }

    /// Returns a limit for all steps together.
    pub(in crate::driver) fn for_all_steps(limit: Duration, keep_going: impl FnMut() -> bool + 'p) -> Self {
        Self { end: Some(Instant::now() + limit), ..Self::new(limit, keep_going) }
    }

    /// Sets a limit for each step from here on.
    pub(in crate::driver) const fn restart_for_each_step(&mut self, limit: Duration) {
        (self.limit, self.end) = (limit, None);
    }

    /// Starts the time of the next step.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(in crate::driver) fn begin_step(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.deadline = self.end.unwrap_or(now + self.limit);
        match now.duration_since(self.checked_at) >= CHECK_INTERVAL {
            true => self.check(),
            false => Ok(()),
        }
    }

    /// Checks whether to wait again.
    ///
    /// # Errors
    /// If the caller gives up, or the step has taken too long.
    pub(in crate::driver) fn check(&mut self) -> io::Result<()> {
        self.checked_at = Instant::now();
        if !(self.keep_going)() {
            // Not `ErrorKind::Interrupted`, because callers retry on that.
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the caller gave up"));
        }
        match self.checked_at < self.deadline {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes too long")),
        }
    }
}
