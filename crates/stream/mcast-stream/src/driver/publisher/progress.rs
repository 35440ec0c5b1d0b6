//! Waiting for what a publisher's threads do: feedback, sending, timers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, MutexGuard};
use std::time::Duration;

use super::shared::{Core, usable};

/// How far a publisher was, as [`Publisher::progress`](crate::Publisher::progress) returns it: a number that grows with
/// everything that may make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherProgress(u64);

/// Counts what may change what callers wait for, and wakes them.
#[derive(Debug, Default)]
pub(super) struct Progress {
    count: AtomicU64,
    /// The threads that wait. They change it with the lock held, so that a thread that has the lock wakes all of them.
    waiting: AtomicUsize,
    changed: Condvar,
    #[cfg(feature = "tokio")]
    notify: tokio::sync::Notify,
}

impl Progress {
    /// Returns how far it is.
    pub(super) fn now(&self) -> PublisherProgress {
        PublisherProgress(self.count.load(Ordering::Acquire))
    }

    /// Wakes all that wait. The caller holds the lock of `_core`.
    pub(super) fn advance(&self, _core: &Core) {
        self.count.fetch_add(1, Ordering::Release);
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.changed.notify_all();
        }
        #[cfg(feature = "tokio")]
        self.notify.notify_waiters();
    }

    /// Waits for progress, for at most `timeout`.
    pub(super) fn wait<'c>(&self, core: MutexGuard<'c, Core>, timeout: Duration) -> MutexGuard<'c, Core> {
        let since = self.now();
        self.wait_since(core, since, timeout)
    }

    /// Waits until it is further than `since`, for at most `timeout`.
    pub(super) fn wait_since<'c>(
        &self,
        core: MutexGuard<'c, Core>,
        since: PublisherProgress,
        timeout: Duration,
    ) -> MutexGuard<'c, Core> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let waited = self.changed.wait_timeout_while(core, timeout, |_| self.now() == since);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        usable(
            waited.map(|(core, _)| core).map_err(|error| std::sync::PoisonError::new(error.into_inner().0)),
        )
    }

    /// Returns a future that is ready at the first progress after this call.
    #[cfg(feature = "tokio")]
    pub(super) fn next(&self) -> impl Future<Output = ()> + '_ {
        self.notify.notified()
    }
}
