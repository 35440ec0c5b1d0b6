//! Polling in a loop before a wait.

use std::time::{Duration, Instant};

/// Polling in a loop before a wait: since when.
#[derive(Debug, Default)]
pub(crate) struct Spinning(Option<Instant>);

impl Spinning {
    /// Returns whether to poll again instead of waiting: this began less than `time` ago.
    #[inline]
    pub(crate) fn lasts(&mut self, time: Duration) -> bool {
        !time.is_zero() && self.0.get_or_insert_with(Instant::now).elapsed() < time
    }
}
