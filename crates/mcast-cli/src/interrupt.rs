//! Ctrl-C: asks the running loop to end, so that the summary is still printed.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;

use crate::exit::Outcome;
use crate::sys;

/// Whether Ctrl-C (or a request to terminate) has come. A second one ends the process at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    status: AtomicU8,
    lock: Mutex<()>,
    came: Condvar,
}

impl Interrupt {
    /// From now on Ctrl-C ends nothing by itself, but does this, on a thread of its own. Once a
    /// process.
    ///
    /// This starts a thread: not before a lab has been entered.
    pub(crate) fn catch(wake: impl Fn() + Send + Sync + 'static) -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let told = interrupt.clone();
        sys::catch_interrupts(move |status| {
            told.state.status.store(status, Ordering::Release);
            drop(told.state.lock.lock().unwrap_or_else(PoisonError::into_inner));
            told.state.came.notify_all();
            wake();
        })
        .context("cannot catch Ctrl-C")?;
        Ok(interrupt)
    }

    /// How the command ended, if by an interrupt.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.state.status.load(Ordering::Acquire) {
            0 => None,
            status => Some(Outcome::Interrupted(status)),
        }
    }

    /// Returns whether the interrupt has arrived.
    pub(crate) fn has_come(&self) -> bool {
        self.outcome().is_some()
    }

    /// Sleeps for this time or until the interrupt arrives; returns whether it arrived.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let guard = self.state.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.state.came.wait_timeout_while(guard, time, |()| !self.has_come()));
        self.has_come()
    }
}

/// Whether a hang-up (SIGHUP) has come, by which services are asked to begin anew. Where there is no such
/// signal it never comes.
#[derive(Debug)]
pub(crate) struct Hangup {
    came: Arc<AtomicBool>,
}

impl Hangup {
    /// Handles SIGHUP from now on, instead of ending the process.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let came = Arc::<AtomicBool>::default();
        sys::catch_hangups(Arc::clone(&came)).context("cannot handle SIGHUP")?;
        Ok(Self { came })
    }

    /// Returns whether SIGHUP has arrived since the last call.
    pub(crate) fn has_come(&self) -> bool {
        self.came.load(Ordering::Relaxed) && self.came.swap(false, Ordering::AcqRel)
    }
}
