//! How long to wait for the other side, and for whom.

use std::io;
use std::time::{Duration, Instant};

/// Who waits is asked so often whether to go on.
pub(super) const SLICE: Duration = Duration::from_millis(50);

/// What waits goes on as long as the caller says so, and no step, or all of them together, takes longer than the limit.
pub(super) struct Patience<'p> {
    limit: Duration,
    /// When all steps together must be done.
    end: Option<Instant>,
    go_on: &'p mut dyn FnMut() -> bool,
    asked: Instant,
    deadline: Instant,
}

impl<'p> Patience<'p> {
    pub(super) fn new(limit: Duration, go_on: &'p mut dyn FnMut() -> bool) -> Self {
        let now = Instant::now();
        Self { limit, end: None, go_on, asked: now, deadline: now + limit }
    }

    /// The limit is for all steps together.
    pub(super) fn in_all(limit: Duration, go_on: &'p mut dyn FnMut() -> bool) -> Self {
        Self { end: Some(Instant::now() + limit), ..Self::new(limit, go_on) }
    }

    /// From here on the limit is for each step.
    pub(super) const fn allow_each_step(&mut self, limit: Duration) {
        (self.limit, self.end) = (limit, None);
    }

    /// The next step has its time from now on.
    pub(super) fn begin_step(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.deadline = self.end.unwrap_or(now + self.limit);
        match now.duration_since(self.asked) >= SLICE {
            true => self.ask(),
            false => Ok(()),
        }
    }

    /// To be asked whenever a wait was without success.
    ///
    /// # Errors
    /// When the caller gives up, or the step has taken too long.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        self.asked = Instant::now();
        if !(self.go_on)() {
            // Nothing that tries again on `ErrorKind::Interrupted` may take it for a passing signal.
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the caller gave up"));
        }
        match self.asked < self.deadline {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes too long")),
        }
    }
}
