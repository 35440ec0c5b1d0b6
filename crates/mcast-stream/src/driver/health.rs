//! The health of a publisher's paths: which of them can send, and the changes of that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mcast::{Error, ErrorKind};

/// Among several, a path that is down is tried this often: each attempt looks for its interface.
const RETRY: Duration = Duration::from_millis(100);
/// A full queue is reported this often at most.
const REPORT_FULL: Duration = Duration::from_secs(10);
/// Limit of the queue of changes that were not fetched; beyond it, the oldest are dropped.
const MAX_CHANGES: usize = 64;

/// A change in what a publisher can send on one of its paths, which count from 0.
#[derive(Debug)]
#[non_exhaustive]
pub enum PathChange {
    /// Nothing can be sent on it, for instance because its interface is down. It is retried.
    Down {
        /// Which path.
        path: usize,
        /// Why.
        error: Error,
    },
    /// It works again.
    Up {
        /// Which path.
        path: usize,
    },
    /// The queue of its interface dropped datagrams, which are repaired. Reported every 10 s at most.
    QueueFull {
        /// Which path.
        path: usize,
        /// What the system reported.
        error: Error,
    },
}

#[derive(Clone, Copy, Debug)]
enum PathState {
    Up,
    Down { retry_at: Instant },
}

#[derive(Debug)]
pub(super) struct PathHealth {
    states: Vec<PathState>,
    changes: VecDeque<PathChange>,
    full_reported: Option<Instant>,
}

impl PathHealth {
    pub(super) fn new(paths: usize) -> Self {
        Self { states: vec![PathState::Up; paths], changes: VecDeque::new(), full_reported: None }
    }

    /// Whether sending is worth an attempt. The only path always is.
    pub(super) fn may_send(&self, path: usize) -> bool {
        match self.states.get(path) {
            Some(PathState::Down { retry_at }) if self.states.len() > 1 => Instant::now() >= *retry_at,
            _ => true,
        }
    }

    /// Takes note of how sending went.
    pub(super) fn note(&mut self, path: usize, result: mcast::Result<()>) {
        let Some(state) = self.states.get_mut(path) else { return };
        let change = match (result, *state) {
            (Ok(()), PathState::Up) => return,
            (Ok(()), PathState::Down { .. }) => {
                *state = PathState::Up;
                PathChange::Up { path }
            }
            (Err(error), _) if error.kind() == ErrorKind::QueueFull => {
                if self.full_reported.is_some_and(|reported| reported.elapsed() < REPORT_FULL) {
                    return;
                }
                self.full_reported = Some(Instant::now());
                PathChange::QueueFull { path, error }
            }
            (Err(error), before) => {
                *state = PathState::Down { retry_at: Instant::now() + RETRY };
                if matches!(before, PathState::Down { .. }) {
                    return;
                }
                PathChange::Down { path, error }
            }
        };
        if self.changes.len() == MAX_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// The next change, the oldest first.
    pub(super) fn change(&mut self) -> Option<PathChange> {
        self.changes.pop_front()
    }

    /// Whether some path can send, as far as is known.
    pub(super) fn is_any_up(&self) -> bool {
        self.states.iter().any(|state| matches!(state, PathState::Up))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn down() -> mcast::Result<()> {
        Err(mcast::find(&"no-such-interface".parse().unwrap()).unwrap_err())
    }

    #[test]
    fn each_change_is_reported_once() {
        let mut health = PathHealth::new(2);
        (0..5).for_each(|_| health.note(1, down()));
        assert!(matches!(health.change(), Some(PathChange::Down { path: 1, .. })));
        assert!(health.change().is_none());
        assert!(health.is_any_up() && health.may_send(0) && !health.may_send(1));
        (0..5).for_each(|_| health.note(1, Ok(())));
        assert!(matches!(health.change(), Some(PathChange::Up { path: 1 })));
        assert!(health.change().is_none() && health.may_send(1));
    }

    #[test]
    fn the_only_path_is_always_tried() {
        let mut health = PathHealth::new(1);
        health.note(0, down());
        assert!(health.may_send(0) && !health.is_any_up());
    }
}
