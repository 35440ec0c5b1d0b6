//! A request to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Waits longer than this end early when the signal is set.
const LONG: Duration = Duration::from_millis(20);

/// A request to stop, which ends the waits of this crate. Clones share it. A signal handler on a thread of its own may
/// set it.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl StopSignal {
    /// Sets the signal, and wakes threads that sleep.
    pub fn set(&self) {
        self.state.is_set.store(true, Ordering::Release);
        // A thread that has checked the flag and does not sleep yet holds the lock.
        drop(self.state.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.state.changed.notify_all();
    }

    /// Returns whether the signal is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.is_set.load(Ordering::Acquire)
    }

    /// Sleeps for this time or until the signal is set; returns whether it is set.
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.state.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.state.changed.wait_timeout_while(guard, time, |()| !self.is_set()));
        self.is_set()
    }

    /// Waits for a part of `time`, which the signal may end early. A caller that repeats this until a moment is
    /// reached waits with a precision of microseconds.
    pub(crate) fn pause(&self, time: Duration) {
        if time > LONG {
            self.sleep(time - LONG);
        } else {
            mcast::pause(time);
        }
    }
}
